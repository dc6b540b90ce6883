"""What the BFFs answer is what their OpenAPI documents say, whatever they are asked (schemathesis, fixed seed)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import to_thread

from tests.journeys.client import PASSWORD, Person, Staff
from tests.journeys.conftest import OnNats

pytestmark = pytest.mark.anyio

# What a path answers to methods that it does not have is the same everywhere, and none of the checks asks for it.
_CONFIGURATION = """
[phases.coverage]
unexpected-methods = []
generate-duplicate-query-parameters = false

[[operations]]
include-operation-id = {alike}
[operations.phases.coverage]
enabled = false
"""
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

_THOROUGH = os.environ.get("CLOUDPHONE_TEST_PROFILE", "ci") == "nightly"
_EXAMPLES = "100" if _THOROUGH else "3"
# What it takes is what mirrorInput takes, and is the largest of all bodies.
_ALIKE = ["sendInput"]


def _without_repeats(document: dict[str, Any]) -> list[str]:
    """Leaves each optional parameter to the first operation that takes it: page sizes, cursors, filters, keys and
    preconditions are read by the same code everywhere. Returns the operations that then take nothing which another
    does not: they are asked what is made up, but not every limit of everything."""
    parameters: set[str] = set()
    shapes: set[str] = set()
    alike = list(_ALIKE)
    for item in document["paths"].values():
        for verb, operation in item.items():
            asked = operation.get("parameters", [])
            operation["parameters"] = [each for each in asked if each["required"] or _is_new(each, parameters)]
            schemas = sorted(json.dumps(each["schema"], sort_keys=True) for each in operation["parameters"])
            shape = json.dumps([verb == "get", schemas, operation.get("requestBody")], sort_keys=True)
            if shape in shapes:
                alike.append(operation["operationId"])
            shapes.add(shape)
    return alike


def _is_new(parameter: dict[str, Any], known: set[str]) -> bool:
    spelled = json.dumps([parameter["in"], parameter["name"], parameter["schema"]], sort_keys=True)
    new = spelled not in known
    known.add(spelled)
    return new


async def _explore(url: str, token: str, folder: Path) -> None:
    """Fails with what schemathesis found. Logging out is left out: it would end what the others are asked with."""
    async with httpx.AsyncClient() as http:
        document = (await http.get(f"{url}/schema/openapi.json")).json()
    alike = [] if _THOROUGH else _without_repeats(document)
    described, configuration = folder / "openapi.json", folder / "schemathesis.toml"
    described.write_text(json.dumps(document))
    configuration.write_text(_CONFIGURATION.format(alike=json.dumps(alike)))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    command += ["run", str(described), "--url", url, "--checks", _CHECKS]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", _EXAMPLES, "--seed", "20261", "--no-shrink"]
    command += ["--generation-deterministic", "--exclude-path", "/auth/logout", "--no-color"]
    # Its body's media type is none that schemathesis can write.
    command += ["--exclude-operation-id", "sendUpload"]
    command += ["--header", f"Authorization: Bearer {token}", "--request-timeout", "20", "--warnings", "off"]
    command += ["--suppress-health-check", "all", "--continue-on-failure"]
    for _ in range(2):  # A service that was held up shows as a 503; what is wrong is found again.
        done = await to_thread.run_sync(
            lambda: subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=600)
        )
        print("\n".join(done.stdout.splitlines()[-12:]))
        if done.returncode == 0:
            return
    pytest.fail(done.stdout[-12000:] + done.stderr[-2000:])


async def test_the_console(platform: OnNats, admin: Staff, tmp_path: Path) -> None:
    before = platform.log_of_errors()
    explorer = await admin.new_user("Explorer", role="admin", dataScope="all")
    token = platform.sign_in("bff-admin", explorer["email"], PASSWORD)["accessToken"]
    schedule = (await admin.json("/admin/warmups"))["schedule"]
    try:
        await _explore(platform.url("bff-admin"), token, tmp_path)
    finally:
        await admin.write("POST", "/admin/warmups/resume")
        await admin.write("PUT", "/admin/warmups/schedule", {"cron": schedule})
    assert platform.log_of_errors() == before


async def test_the_portal(platform: OnNats, customer: Person, tmp_path: Path) -> None:
    before = platform.log_of_errors()
    token = customer.http.headers["Authorization"].removeprefix("Bearer ")
    await _explore(platform.url("bff-user"), token, tmp_path)
    assert platform.log_of_errors() == before

"""`cloudphone up` with everything: the printed call works, what crashes comes back, and the commands find it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conditions import eventually
from tests.deploy.test_one_machine import Machine

pytestmark = pytest.mark.anyio

HEALTHY = 60.0


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("platform") / "data")
    started = machine.run("up", "--detach")
    assert started.returncode == 0, started.stderr
    machine.env["SAID"] = started.stdout
    yield machine
    assert machine.run("down").returncode == 0


def up(machine: Machine) -> dict[str, Any]:
    return json.loads(machine.folder.up.read_text())


def answer(machine: Machine, *words: str) -> Any:
    done = machine.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_printed_call_gives_a_composed_device(machine: Machine) -> None:
    call = next(line for line in machine.env["SAID"].splitlines() if line.startswith("curl "))
    device = json.loads(subprocess.run(["bash", "-c", call], capture_output=True, check=True, timeout=30).stdout)
    assert set(device) >= {"device", "owner", "applications", "usage"}
    assert device["owner"]["id"] == device["device"]["ownerId"]
    assert device["applications"]


def test_the_file_for_scripts_names_addresses_accounts_and_processes(machine: Machine) -> None:
    told = up(machine)
    assert list(told) == ["bffAdmin", "bffUser", "services", "accounts", "pids"]
    assert set(told["services"]) == {"user", "device", "app", "billing", "cache-worker"}
    assert {account["role"] for account in told["accounts"]} == {"admin", "operator", "support", "customer"}
    assert all(set(account) == {"role", "tenant", "email", "password"} for account in told["accounts"])
    assert all(psutil.pid_exists(pid) for pid in told["pids"].values())
    assert all(account["email"] in machine.env["SAID"] for account in told["accounts"])


@pytest.mark.parametrize("name", ["user", "bff-admin", "nursery"])
async def test_what_is_killed_comes_back(machine: Machine, name: str) -> None:
    before = up(machine)["pids"]
    os.kill(before[name], signal.SIGKILL)
    await eventually(lambda: up(machine)["pids"][name] != before[name], within=HEALTHY)
    urls = [up(machine)["bffAdmin"], up(machine)["bffUser"], *up(machine)["services"].values()]
    async with httpx.AsyncClient(timeout=5) as client:

        async def all_ready() -> bool:
            try:
                answers = [await client.get(f"{url}/health/ready") for url in urls]
            except httpx.HTTPError:
                return False
            return all(answer.status_code == 200 for answer in answers)

        await eventually(all_ready, within=HEALTHY, every=0.1)


def test_the_commands_find_the_installation_by_its_folder(machine: Machine) -> None:
    base = machine.env.pop("CLOUDPHONE_PORT_BASE")
    try:
        assert len(answer(machine, "tenant", "list")) == 3
        assert answer(machine, "bus", "dead-letters", "list") == []
        assert answer(machine, "warmup", "schedule", "*/7 * * * *")["schedule"] == "*/7 * * * *"
        assert {feed["service"] for feed in answer(machine, "cache", "stats")["feeds"]["services"]} >= {
            "user",
            "device",
        }
        assert answer(machine, "cache", "show", "device:full:nobody's")["reason"] == "there is no entry"
        assert [each["process"]["name"] for each in answer(machine, "cache", "processes")["items"]] == [
            "bff-admin",
            "bff-user",
        ]
        assert "changes behind" in machine.run("cache", "processes").stdout
        assert "newest version" in machine.run("migrate").stdout
        again = answer(machine, "seed")["accounts"]
    finally:
        machine.env["CLOUDPHONE_PORT_BASE"] = base
    assert again == up(machine)["accounts"]


def test_the_commands_tell_what_the_caches_hold_and_why(machine: Machine) -> None:
    call = next(line for line in machine.env["SAID"].splitlines() if line.startswith("curl "))
    for _ in range(2):
        device = json.loads(subprocess.run(["bash", "-c", call], capture_output=True, check=True, timeout=30).stdout)
    key = f"device:full:{device['device']['id']}"
    owner = f"user:{device['owner']['id']}"
    shown = machine.run("cache", "show", key).stdout
    assert owner in shown and "proven: nothing newer than it shows has been announced" in shown
    assert "no-entry" in machine.run("cache", "misses", "--key", key).stdout
    assert "No such miss is remembered." in machine.run("cache", "misses", "--key", "device:full:1").stdout
    assert key in machine.run("cache", "hottest").stdout
    assert "device:full" in machine.run("cache", "l1").stdout
    found = answer(machine, "cache", "showing", owner)
    assert found["complete"] is True and key in [view["key"] for view in found["views"]]
    assert "No cached view shows user:nobody." in machine.run("cache", "showing", "user:nobody").stdout
    assert "Heard by bff-admin@" in machine.run("cache", "drop", key).stdout
    refused = machine.run("cache", "drop", "nothing:1")
    assert refused.returncode == 1 and "No view of a process that answers has such a key" in refused.stderr


def test_a_process_can_be_served_beside_it(machine: Machine, tmp_path: Path) -> None:
    port = machine.base + 15
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = machine.command("serve", "bff-admin", "--port", str(port))
        process = subprocess.Popen(command, env=machine.env, stdout=output, stderr=output)
    try:
        with httpx.Client(timeout=5, transport=httpx.HTTPTransport(retries=0)) as client:
            assert wait_ready(client, f"http://127.0.0.1:{port}", process), log.read_text()
    finally:
        process.terminate()
        assert process.wait(20) == 0


def wait_ready(client: httpx.Client, url: str, process: "subprocess.Popen[bytes]") -> bool:
    for _ in range(600):
        try:
            return client.get(f"{url}/health/ready").status_code == 200
        except httpx.HTTPError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            return False
    return False


def test_the_first_administrator_can_be_made_only_once(machine: Machine) -> None:
    done = subprocess.run(
        machine.command("admin", "create", "x@y.example"),
        env=machine.env,
        input="long enough, this",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"cloudphone: .*administrator.*\n", done.stderr)

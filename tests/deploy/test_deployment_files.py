"""The compose and Kubernetes files speak of processes, ports and settings that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cloudphone_deploy.processes import UNITS, has_http
from cloudphone_deploy.surroundings import SETTINGS
from cloudphone_shared.database import Relay
from cloudphone_shared.observability.metrics import exposition
from cloudphone_shared.settings import PORTS

DEPLOY = Path(__file__).parents[2] / "deploy"
PRODUCTION = {name: units for name, units in UNITS.items() if name != "card-provider"}
"""That one is for trying out: in production there is a real one."""
FILES = (DEPLOY / "compose.yaml", DEPLOY / "kubernetes" / "cloudphone.yaml")


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_process_is_served_once_per_kind(file: Path) -> None:
    commands = [
        command
        for each in mappings(yaml.safe_load(file.read_text()))
        if (command := each.get("command") or each.get("args")) and command[0] == "serve"
    ]
    assert sorted(name for command in commands for name in command[1:]) == sorted(PRODUCTION)


def test_no_service_is_named_twice() -> None:
    """Compose refuses such a file, and our reader takes the last."""
    named = re.findall(r"^  ([\w-]+):", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(named))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_setting_exists_and_every_url_has_its_port(file: Path) -> None:
    known = {f"CLOUDPHONE_{field.name.upper()}" for cls in SETTINGS for field in msgspec.structs.fields(cls)}
    named = {
        (name, value)
        for each in mappings(yaml.safe_load(file.read_text()))
        for name, value in each.items()
        if isinstance(name, str) and name.startswith("CLOUDPHONE_")
    }
    assert {name.removesuffix("_FILE") for name, _ in named} <= known
    urls = dict(named)
    for process in (name for name in PRODUCTION if has_http(name)):
        url = urls[f"CLOUDPHONE_{process.upper().replace('-', '_')}_URL"]
        assert url == f"http://{process}:{30_000 + PORTS[process]}"


def test_the_dashboard_asks_for_metrics_that_are_exposed() -> None:
    dashboard = json.loads((DEPLOY / "dashboards" / "cloudphone.json").read_text())
    asked = {
        re.sub(r"_bucket$", "", name)
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"cloudphone_\w+", target["expr"])
    }
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(exposition().decode())
    }
    assert Relay, "its import registers its metrics"
    assert asked
    assert asked <= exposed

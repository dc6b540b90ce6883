"""Planted devices look as if they had lived: versions, owners, history, what stands on a node."""

from datetime import timedelta

import pytest

from cloudphone_core.device.seed import SeedDevice, SeedNode, SeedOwner, SeedTemplate, seed
from cloudphone_shared.ids import uuid7
from tests.core.device.conftest import NOW, Users, World

pytestmark = pytest.mark.anyio


async def test_a_planted_device_is_read_renamed_and_listed_like_any_other(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    node = SeedNode(id=uuid7(), name=f"node {ana.id}", region="eu", capacity=10, created_at=NOW)
    template = SeedTemplate(
        id=uuid7(),
        name=f"template {ana.id}",
        android_version="14",
        cpu_cores=2,
        memory_mib=2048,
        storage_gib=16,
        created_at=NOW,
    )
    planted = SeedDevice(
        id=uuid7(),
        tenant_id=world.tenant,
        name="Planted",
        template_id=template.id,
        node_id=node.id,
        owner=SeedOwner(id=ana.id, name=ana.name, email=ana.email, version=ana.version),
        state="running",
        adb_host="10.0.0.1",
        adb_port=5555,
        run_id=uuid7(),
        started_at=NOW + timedelta(days=1),
        created_at=NOW,
        updated_at=NOW + timedelta(days=1),
    )
    await seed(world.database, nodes=[node], templates=[template], devices=[planted])
    path = f"/v1/devices/{planted.id}"

    answer = (await world.ask("GET", path, by=world.service)).json()

    assert set(answer["entities"]) == {f"device:{planted.id}", f"node:{node.id}", f"template:{template.id}"}
    assert min(answer["entities"].values()) > 0
    assert (answer["data"]["adbHost"], answer["data"]["adbPort"]) == ("10.0.0.1", 5555)
    own = (await world.ask("GET", path, by=world.customer(ana))).json()["data"]
    assert (own["adbHost"], own["adbPort"], own["node"]) == (None, None, None)
    log = (await world.ask("GET", f"{path}/history")).json()["data"]
    assert [one["toState"] for one in reversed(log)] == ["creating", "idle", "allocated", "starting", "running"]
    held = (await world.ask("GET", f"/v1/users/{ana.id}/devices")).json()
    assert held["data"] == [str(planted.id)]
    assert held["entities"][f"devices-of:{ana.id}"] > 0
    renamed = await world.ask("PATCH", path, {"name": "New"})
    assert renamed.json()["data"]["version"] > answer["data"]["version"]

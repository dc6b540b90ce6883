"""A device worker that looks after some nodes alone takes no other node's work."""

import pytest

from cloudphone_core.device.operations.claims import claim
from tests.core.device.conftest import Users, World

pytestmark = pytest.mark.anyio


async def test_work_is_taken_by_who_reaches_the_devices_node(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    near, far = await world.node(), await world.node()
    devices = {node["name"]: await world.device(owner=ana, node=node) for node in (near, far)}
    for device in devices.values():
        assert (await world.ask("POST", f"/v1/devices/{device['id']}/start")).status_code == 202
    taken = await claim(world.database, ["start"], 30.0, [far["name"]])
    assert taken is not None and str(taken.device_id) == devices[far["name"]]["id"]
    assert await claim(world.database, ["start"], 30.0, [far["name"]]) is None
    rest = await claim(world.database, ["start"], 30.0)
    assert rest is not None and str(rest.device_id) == devices[near["name"]]["id"]

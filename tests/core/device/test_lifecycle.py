"""Devices live: what is asked of them happens to their phones, and what happens to their phones shows on them."""

import pytest

from tests.core.device.conftest import World
from tests.core.device.living import Life
from tests.core.device.phones import Phones, adb_port, phones  # noqa: F401

pytestmark = pytest.mark.anyio


@pytest.fixture
def life(world: World, phones: Phones) -> Life:  # noqa: F811
    return Life(world, phones)


async def marked(life: Life, device_id: str, word: str) -> None:
    """A file with this word on the phone."""
    row = await life.row(device_id)
    said = await life.phones.adb.shell(f"{row.adb_host}:{row.adb_port}", ["sh", "-c", f"echo {word} > /sdcard/mark"])
    assert said.code == 0, said


async def test_a_device_is_started_seen_and_stopped(life: Life) -> None:
    device_id = await life.held()
    async with life.working():
        operation = await life.done(device_id, "start")
        assert (operation["kind"], operation["progress"], operation["attempt"]) == ("start", 100, 1)
        device = await life.world.get(device_id)
        assert (device["state"], device["desiredState"]) == ("running", "running")
        address = f"{device['adbHost']}:{device['adbPort']}"
        assert await life.phones.adb.state(address) == "device"
        assert await life.phones.adb.booted(address)

        await life.done(device_id, "stop")
    device = await life.world.get(device_id)
    assert (device["state"], device["runId"], device["adbPort"]) == ("stopped", None, None)
    assert await life.phones.adb.state(address) is None
    [run] = await life.runs(device_id)
    [started], [stopped] = (
        await life.announced(device_id, "device.started"),
        await life.announced(device_id, "device.stopped"),
    )
    assert started["runId"] == stopped["runId"] == str(run.run_id)
    assert run.started_at < run.stopped_at
    assert stopped["closedBy"] == "event"

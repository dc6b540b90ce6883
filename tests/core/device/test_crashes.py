"""A worker may die at any point of any work: another goes on from there, and every effect is there once."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from cloudphone_phone import controlled
from tests.core.device.conftest import World
from tests.core.device.living import Life, found_in, lived_well
from tests.core.device.phones import Phones

pytestmark = pytest.mark.anyio
_TOP = Path(__file__).parents[3]


@pytest.fixture
def life(world: World, phones: Phones) -> Life:
    return Life(world, phones)


class Deaths:
    """Kills the worker at every point that a work comes to, once each."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.died_at: list[str] = []
        self._dying = asyncio.Event()

    async def __call__(self, point: str) -> None:
        if point not in self.died_at:
            self.died_at.append(point)
            self._dying.set()
            # Nothing more happens here: what follows was cut off.
            await asyncio.Event().wait()

    async def done(self, device_id: str, what: str, body: object = None) -> None:
        """The work, by as many workers as it takes."""
        self.died_at.clear()
        ending = asyncio.ensure_future(self.life.done(device_id, what, body))
        while not ending.done():
            self._dying.clear()
            dying = asyncio.ensure_future(self._dying.wait())
            async with self.life.working(points=self):
                await asyncio.wait([ending, dying], return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
        operation = await self.life.operation((await ending)["id"])
        assert operation["attempt"] == len(self.died_at) + 1
        assert len(self.died_at) >= 2, "at its own points and before its end"


async def test_a_life_with_a_death_at_every_point_is_the_same_life(life: Life, tmp_path: Path) -> None:
    device_id, deaths = await life.held(), Deaths(life)

    await deaths.done(device_id, "start")
    await life.mark(device_id, "first-secret")
    await deaths.done(device_id, "reboot")
    assert await life.marked(device_id) == "first-secret"
    await deaths.done(device_id, "stop")
    await deaths.done(device_id, "snapshots", {"name": "Kept"})
    [snapshot] = (await life.world.ask("GET", f"/v1/devices/{device_id}/snapshots")).json()["data"]
    async with life.working():
        await life.done(device_id, "start")
    await deaths.done(device_id, "reset")
    await life.mark(device_id, "second-secret")
    async with life.working():
        await life.done(device_id, "stop")
    await deaths.done(device_id, "restore", {"snapshotId": snapshot["id"]})
    async with life.working():
        await life.done(device_id, "start")
    assert await life.marked(device_id) == "first-secret"
    containers = await life.phones.provider.find({})
    assert [one.volume for one in containers] == [(await life.row(device_id)).volume_name]
    async with life.working():
        await life.done(device_id, "stop")
    await deaths.done(device_id, "clean")

    assert await life.state(device_id) == "idle"
    assert [await life.phones.provider.find({}), await life.phones.provider.volumes({})] == [[], []]
    assert found_in(tmp_path, "secret") == []
    await lived_well(life, device_id)


async def test_a_worker_that_is_killed_leaves_its_work_to_another_once_its_lease_is_over(
    life: Life, url: str, adb_port: int, tmp_path: Path
) -> None:
    device_id, socket = await life.held(), tmp_path / "farm.sock"
    async with controlled(life.phones.farm, socket):
        for what, point in (("start", None), ("stop", None), ("clean", "clean.removed")):
            operation = await life.asked(device_id, what)
            if point is not None:
                arguments = [url, str(socket), str(adb_port), point]
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.core.device.dying_worker", *arguments), cwd=_TOP
                )
                assert await process.wait() == -signal.SIGKILL
                left = await life.operation(operation["id"])
                assert (left["state"], left["attempt"]) == ("running", 1)
                async with life.working():
                    assert not (await life.operation(operation["id"]))["finishedAt"], "its lease is not over"
                    await life.lease_ends(device_id)
                    ended = await life.ended(operation)
                assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
            else:
                async with life.working():
                    await life.ended(operation)
    assert await life.state(device_id) == "idle"
    assert await life.phones.provider.volumes({}) == []
    await lived_well(life, device_id)

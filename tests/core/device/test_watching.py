"""The watch over running phones: blips end nothing, the dead are noticed, what was seen is written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from cloudphone_core.device.adb import Adb
from cloudphone_core.device.live.watching import Pace, Supervisor
from cloudphone_core.device.providers.port import Container
from cloudphone_phone import Faults
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.phones import Phones, at, now_running, plan
from tests.servers import free_port

pytestmark = pytest.mark.anyio
BRISK = Pace(round=0.05, look=0.1, record=0.1, silence=0.3, first_call=0.02, last_call=0.2)


class Watched:
    """A device that runs, and what the database says of it."""

    def __init__(self, world: World, phones: Phones, device_id: str, container: Container) -> None:
        self.world, self.phones, self.id, self.container = world, phones, UUID(device_id), container

    @asynccontextmanager
    async def watch(self, *, adb: Adb | None = None, pace: Pace = BRISK) -> AsyncGenerator[None]:
        supervisor = Supervisor(self.world.database, adb or self.phones.adb, self.phones.provider, pace=pace)
        task = asyncio.create_task(supervisor.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def row(self, table: str = "devices") -> Any:
        key = "id" if table == "devices" else "device_id"
        async with self.world.database.reading() as session:
            found = await session.execute(sa.text(f"SELECT * FROM device.{table} WHERE {key} = :id"), {"id": self.id})
            return found.one_or_none()

    async def seen_again(self) -> None:
        """Waits until the phone has been seen once more."""
        before = (await self.row("device_runs")).last_seen_at

        async def later() -> bool:
            return (await self.row("device_runs")).last_seen_at > before

        await eventually(later)

    async def state(self) -> str:
        return (await self.row()).state


@pytest.fixture
async def watched(world: World, phones: Phones) -> Watched:
    device = await world.device(owner=world.users.user(world.users.tenant()))
    container, address = await phones.start(plan(UUID(device["id"])))
    await phones.adb.disconnect(address)
    await now_running(world.database, device["id"], container)
    return Watched(world, phones, device["id"], container)


async def test_a_phone_is_connected_seen_and_measured_without_changing_its_device(watched: Watched) -> None:
    before = (await watched.world.get(str(watched.id)))["version"]
    async with watched.watch():
        await watched.seen_again()

        async def measured() -> Any:
            return await watched.row("device_vitals")

        vitals = await eventually(measured)
    assert vitals.memory_total == 2048 << 20
    assert vitals.foreground
    row, run = await watched.row(), await watched.row("device_runs")
    assert row.last_seen_at == run.last_seen_at
    device = await watched.world.get(str(watched.id))
    assert device["version"] == before
    shown = (await watched.world.ask("GET", f"/v1/devices/{watched.id}/vitals")).json()["data"]
    assert (shown["online"], shown["memoryTotal"]) == (True, 2048 << 20)


@pytest.mark.parametrize("fault", [Faults(offline=True), Faults(unauthorized=True)])
async def test_a_silent_phone_is_not_a_stop(watched: Watched, fault: Faults) -> None:
    farm = watched.phones.farm
    async with watched.watch(adb=watched.phones.adb):
        await watched.seen_again()
        run_id = (await watched.row()).run_id
        asked = watched.phones.provider.inspections
        await farm.inflict(watched.container.id, fault)
        # Its provider has been asked about it, and said that it is on.
        await eventually(lambda: watched.phones.provider.inspections > asked)
        await farm.inflict(watched.container.id, Faults())
        await watched.seen_again()
        assert (await watched.row()).run_id == run_id
        assert await watched.state() == "running"


async def test_an_adb_server_that_forgets_everything_is_told_again(watched: Watched) -> None:
    async with watched.watch():
        await watched.seen_again()
        await watched.phones.adb.disconnect(at(watched.container))
        await watched.seen_again()
    assert await watched.state() == "running"


@pytest.mark.parametrize("end", ["crash", "stop", "remove"])
async def test_a_dead_phone_ends_the_run_when_it_was_last_seen(watched: Watched, end: str) -> None:
    async with watched.watch():
        await watched.seen_again()
        await getattr(watched.phones.farm, end)(watched.container.id)

        async def lost() -> bool:
            return await watched.state() == "error"

        await eventually(lost)
    run = await watched.row("device_runs")
    assert run.stopped_at == run.last_seen_at
    assert run.closed_by == "heartbeat"


async def test_a_phone_that_has_moved_is_found(watched: Watched) -> None:
    async with watched.watch():
        await watched.seen_again()
        async with watched.world.database.writing() as session:
            await session.execute(sa.text("UPDATE device.devices SET adb_port = 1 WHERE id = :id"), {"id": watched.id})

        async def found() -> bool:
            return (await watched.row()).adb_port == (watched.container.address or ("", 0))[1]

        await eventually(found)
        await watched.seen_again()
    assert await watched.state() == "running"


async def test_an_adb_server_that_is_away_stops_nothing(watched: Watched) -> None:
    away = Adb(("127.0.0.1", free_port()))
    asked = watched.phones.provider.inspections
    async with watched.watch(adb=away):
        await eventually(lambda: watched.phones.provider.inspections > asked + 1)
    assert await watched.state() == "running"

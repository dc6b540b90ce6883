"""Whatever is asked, dies, is told twice or comes late: the device's life stays one that the table knows."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloudphone_core.device.allocations import obey_release, obey_reservation
from cloudphone_core.device.arrears import follow_arrears
from cloudphone_core.device.lifecycle.converging import phone_lost
from cloudphone_core.device.moves import DEADLINES
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import announce_all
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.living import Life, lived_well
from tests.core.device.phones import Phones

pytestmark = pytest.mark.anyio

ASKED = ("start", "start", "stop", "reboot", "reset", "clean", "freeze", "unfreeze", "snapshots", "unassign")
HAPPENING = ("work", "work", "work", "death", "crash", "long after", "reserved", "released", "owes", "paid")
BODIES: dict[str, object] = {"start": {"force": True}, "snapshots": {"name": "One"}}


@pytest.fixture
def life(world: World, phones: Phones) -> Life:
    return Life(world, phones)


class AnyLife:
    """One device and what befalls it."""

    def __init__(self, life: Life, device_id: str, user: User) -> None:
        self.life, self.device_id, self.user = life, device_id, user
        self.token = self.news = 1

    async def befalls(self, what: str) -> None:
        match what:
            case "work":
                await self.quiet()
            case "death":
                await self.death()
            case "crash":
                await self.crash()
            case "long after":
                await self.life.later(self.device_id, 10_000)
                await self.life.sweep()
                # What the sweep itself began has its time before it.
                row = await self.life.row(self.device_id)
                overdue = row.state in DEADLINES and row.state_deadline_at <= datetime.now(UTC)
                assert not overdue, f"{row.state} has outlived its deadline"
            case "reserved" | "released":
                await self.allocated(what)
            case "owes" | "paid":
                self.news += 1
                for version in (self.news, self.news - 1, self.news):
                    async with self.life.world.database.writing() as session:
                        owes = (what == "owes") == (version == self.news)
                        await follow_arrears(session, self.user.id, version=version, owes=owes)
            case _:
                answer = await self.life.world.ask("POST", f"/v1/devices/{self.device_id}/{what}", BODIES.get(what))
                assert answer.status_code in (200, 202, 409), answer.text

    async def quiet(self) -> None:
        """A worker for as long as there is work."""
        async with self.life.working():
            await eventually(self._nothing_left, every=0.02)

    async def death(self) -> None:
        """A worker that dies at the first point it comes to, if there is work."""
        dying = asyncio.Event()

        async def die(point: str) -> None:
            dying.set()
            await asyncio.Event().wait()

        if not await self._nothing_left():
            async with self.life.working(points=die):
                await dying.wait()

    async def crash(self) -> None:
        """The phone ends by itself, and two notice it."""
        row = await self.life.row(self.device_id)
        if row.state != "running":
            return
        await self.life.phones.farm.crash(row.container_id)
        for _ in range(2):
            async with self.life.world.database.writing() as session:
                await announce_all(session, await phone_lost(session, row.id, row.run_id, "it was gone"))

    async def allocated(self, what: str) -> None:
        """Each order comes twice."""
        fields: dict[str, Any] = {
            "device_id": UUID(self.device_id), "user_id": self.user.id, "tenant_id": self.life.world.tenant
        }  # fmt: skip
        self.token += what == "reserved"
        fields |= {"allocation_id": UUID(int=self.token), "fencing_token": self.token}
        for _ in range(2):
            async with self.life.world.database.writing() as session:
                if what == "reserved":
                    await obey_reservation(session, AllocationReserved(**fields), self.user)
                else:
                    await obey_release(session, AllocationReleased(**fields, reason="over"))

    async def _nothing_left(self) -> bool:
        sql = "SELECT 1 FROM device.operations WHERE device_id = :id AND finished_at IS NULL"
        return not await self.life.rows(sql, id=self.device_id)


@example(story=["start", "work", "crash", "long after"])
@given(story=st.lists(st.sampled_from(ASKED + HAPPENING), min_size=4, max_size=14))
@settings(
    max_examples=5 if settings.default.max_examples <= 100 else 300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_life_is_one_that_the_table_knows(life: Life, story: list[str]) -> None:
    ana = life.world.users.user(life.world.tenant, "Ana")
    device_id = await life.held(ana)
    any_life = AnyLife(life, device_id, ana)
    for what in story:
        await any_life.befalls(what)

    # Nothing more is asked: what was begun ends, and what the platform wants by itself is done.
    for _ in range(8):
        await any_life.quiet()
        await life.later(device_id, 10_000)
        await life.sweep()
    await any_life.quiet()

    row = await life.row(device_id)
    assert row.state not in DEADLINES
    containers = [one for one in await life.phones.provider.find({}) if one.labels["cloudphone.device"] == device_id]
    on = [one for one in containers if one.state in ("booting", "running")]
    assert [one.volume for one in on] == ([row.volume_name] if row.state == "running" else [])
    if row.state == "idle":
        volumes = await life.phones.provider.volumes({"cloudphone.device": device_id})
        assert (row.owner_id, row.volume_name, containers, volumes) == (None, None, [], [])
    await lived_well(life, device_id)

"""Containers and rows held against each other: one comparison makes them agree, and touches nothing of others."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.device.models import DeviceRow, DeviceRunRow
from cloudphone_core.device.providers.port import DEPLOYMENT
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_core.device.reconcile.comparing import Grace
from cloudphone_core.device.reconcile.reconciling import Pace, Reconciler
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.database import Database
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.phones import Phones, now_running, plan

pytestmark = pytest.mark.anyio
AT_ONCE = Grace(container=0, volume=0)
RESTING: list[DeviceState] = ["allocated", "stopped", "frozen", "error", "idle", "maintenance"]


def reconciler(world: World, phones: Phones, grace: Grace = AT_ONCE) -> Reconciler:
    return Reconciler(world.database, phones.provider, name="simulated", deployment="ours", grace=grace)


async def report(world: World, report_id: UUID | None) -> dict[str, Any]:
    assert report_id is not None
    answer = await world.ask("GET", f"/v1/reconcile-reports/{report_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def set_row(database: Database, device_id: UUID, **values: object) -> None:
    async with database.writing() as session:
        row = await session.get_one(DeviceRow, device_id)
        for name, value in values.items():
            setattr(row, name, value)


async def row(database: Database, device_id: UUID) -> DeviceRow:
    async with database.reading() as session:
        return await session.get_one(DeviceRow, device_id)


async def forget_all(database: Database) -> None:
    """So that one test's devices are not another's."""
    async with database.writing() as session:
        await session.execute(
            sa.text(
                "UPDATE device.devices SET state = 'deleted', deleted_at = now(), volume_name = NULL,"
                " container_id = NULL WHERE deleted_at IS NULL"
            )
        )


# What a device's row says, whether its container is there and in which state, and what stands about beside it.
Situation = tuple[str, bool, str, bool]
situations = st.lists(
    st.tuples(
        st.sampled_from(["running", *RESTING, "starting", "deleted"]),
        st.booleans(),
        st.sampled_from(["off", "on", "crashed"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


async def arrange(world: World, phones: Phones, situation: Situation, template: UUID) -> UUID:
    """A device and, or not, its container; a deleted device leaves a container that nobody wants."""
    state, there, phone, another = situation
    device_id, now = uuid7(), datetime.now(UTC)
    own = plan(device_id, generation=2)
    container = await phones.provider.create(own)
    if phone != "off":
        container = await phones.provider.start(container.id)
    if phone == "crashed":
        await phones.farm.crash(container.id)
    if not there:
        await phones.provider.remove(container.id)
    if another:
        await phones.provider.create(plan(device_id, generation=1))
    gone, runs = state == "deleted", state == "running"
    host, port = container.address or ("127.0.0.1", None)
    async with world.database.writing() as session:
        session.add(
            DeviceRow(
                id=device_id, tenant_id=world.tenant, name="Phone", template_id=template, provider="simulated",
                desired_state="stopped" if state == "error" else "running", state=state, tags=[], generation=2,
                volume_name=None if gone else own.volume, container_id=None if gone else container.id,
                adb_host=host if runs else None, adb_port=port if runs else None,
                created_at=now, updated_at=now, deleted_at=now if gone else None,
            )
        )  # fmt: skip
        await session.flush()
        if runs:
            run = DeviceRunRow(run_id=uuid7(), device_id=device_id, started_at=now, last_seen_at=now)
            session.add(run)
            (await session.get_one(DeviceRow, device_id)).run_id = run.run_id
    return device_id


async def standing(phones: Phones, deployment: str) -> set[tuple[str, str, bool]]:
    """Which containers there are, with their volumes, and whether they are on."""
    found = await phones.provider.find({DEPLOYMENT: deployment})
    return {(one.id, one.volume, one.state in ("booting", "running")) for one in found}


@settings(max_examples=settings().max_examples // 8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(situations=situations, foreign=st.integers(0, 2))
async def test_one_comparison_makes_containers_and_rows_agree(
    world: World, phones: Phones, situations: list[Situation], foreign: int
) -> None:
    await forget_all(world.database)
    for container in await phones.provider.find({}):
        await phones.provider.remove(container.id)
    template = UUID((await world.template())["id"])
    devices = {await arrange(world, phones, situation, template): situation for situation in situations}
    for _ in range(foreign):
        await phones.provider.start((await phones.provider.create(plan(deployment="theirs"))).id)
    theirs = await standing(phones, "theirs")

    found = await report(world, await reconciler(world, phones).once())

    assert (found["foreign"], found["failure"]) == (foreign, None)
    assert await standing(phones, "theirs") == theirs
    assert {volume.name for volume in await phones.provider.volumes({DEPLOYMENT: "theirs"})} >= {
        v for _, v, _ in theirs
    }
    containers = {one.id: one for one in await phones.provider.find({DEPLOYMENT: "ours"})}
    claimed: set[str] = set()
    for device_id, (state, there, _, another) in devices.items():
        present = await row(world.database, device_id)
        if state == "starting":
            # Somebody is at it: nothing of it is judged.
            claimed |= ({f"cp-{device_id.hex}-2"} if there else set()) | (
                {f"cp-{device_id.hex}-1"} if another else set()
            )
            assert present.state == "starting"
            continue
        if present.container_id is not None and present.state != "error":
            claimed.add(present.container_id)
            assert (containers[present.container_id].state in ("booting", "running")) == (present.state == "running")
        elif present.container_id in containers:
            claimed.add(present.container_id)
        if present.state == "running":
            assert containers[present.container_id or ""].address == (present.adb_host, present.adb_port)
    assert claimed == set(containers)
    again = await report(world, await reconciler(world, phones).once())
    assert {finding["kind"] for finding in again["findings"]} <= {"volume_without_row"}, again["findings"]


async def test_a_run_whose_phone_died_is_closed_when_it_was_last_seen(world: World, phones: Phones) -> None:
    device = await world.device(owner=world.users.user(world.users.tenant()))
    device_id = UUID(device["id"])
    container, _ = await phones.start(plan(device_id))
    await now_running(world.database, device_id, container)
    await phones.farm.crash(container.id)
    found = await report(world, await reconciler(world, phones).once())
    [finding] = [one for one in found["findings"] if one["deviceId"] == device["id"]]
    assert finding["kind"] == "crashed" and finding["repair"]
    async with world.database.reading() as session:
        run = (await session.scalars(sa.select(DeviceRunRow).where(DeviceRunRow.device_id == device_id))).one()
    assert (run.stopped_at, run.closed_by) == (run.last_seen_at, "reconcile")
    assert (await row(world.database, device_id)).state == "error"


async def test_what_is_young_is_missed_by_nobody_and_volumes_wait_longer(world: World, phones: Phones) -> None:
    orphan = plan()
    await phones.provider.create(orphan)
    report_id = await reconciler(world, phones, Grace(container=3600, volume=3600)).once()
    assert [one for one in (await report(world, report_id))["findings"] if one["subject"] == orphan.name] == []
    report_id = await reconciler(world, phones, Grace(container=0, volume=3600)).once()
    [finding] = [one for one in (await report(world, report_id))["findings"] if one["subject"] == orphan.name]
    assert finding["repair"] is not None
    assert await phones.provider.inspect(orphan.name) is None
    for volume_grace, repaired in ((3600, False), (0, True)):
        report_id = await reconciler(world, phones, Grace(container=0, volume=volume_grace)).once()
        [finding] = [one for one in (await report(world, report_id))["findings"] if one["subject"] == orphan.volume]
        assert (finding["kind"], finding["repair"] is not None) == ("volume_without_row", repaired)
    assert orphan.volume not in [volume.name for volume in await phones.provider.volumes({})]


async def test_a_report_is_asked_for_read_and_not_for_everybody(world: World, phones: Phones) -> None:
    asked = await world.ask("POST", "/v1/reconcile-reports")
    assert (asked.status_code, asked.json()["data"]["finishedAt"]) == (202, None)
    again = await world.ask("POST", "/v1/reconcile-reports")
    assert again.headers["location"] == asked.headers["location"]
    report_id = await reconciler(world, phones).once()
    assert asked.headers["location"].endswith(str(report_id))
    read = (await world.ask("GET", asked.headers["location"])).json()["data"]
    assert read["finishedAt"] is not None
    latest = (await world.ask("GET", "/v1/reconcile-reports?limit=1")).json()["data"]["items"]
    assert [one["id"] for one in latest] == [str(report_id)]
    for by in (world.operator, world.signer.headers(role="customer", tenant=world.tenant)):
        for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{report_id}")):
            assert (await world.ask(method, f"/v1/reconcile-reports{path}", by=by)).status_code == 403


async def test_two_workers_do_not_compare_at_once(world: World, phones: Phones) -> None:
    first, second = reconciler(world, phones), reconciler(world, phones)
    async with first.alone() as held:
        assert held
        assert await second.once() is None
    assert await second.once() is not None


async def test_a_provider_that_is_away_leaves_a_report_that_says_so(world: World, phones: Phones) -> None:
    away = SimulatedProvider.at(Path("/nowhere/control"))
    one = Reconciler(world.database, away, name="simulated", deployment="ours", grace=AT_ONCE)
    found = await report(world, await one.once())
    assert found["failure"] and found["findings"] == []


async def test_what_somebody_asks_for_is_done_and_otherwise_not_before_its_time(world: World, phones: Phones) -> None:
    seldom = Pace(every=3600, poll=0.02)
    one = Reconciler(world.database, phones.provider, name="simulated", deployment="ours", grace=Grace(), pace=seldom)
    await one.once()

    async def reports() -> list[dict[str, Any]]:
        return (await world.ask("GET", "/v1/reconcile-reports?limit=100")).json()["data"]["items"]

    before = len(await reports())
    task = asyncio.create_task(one.run())
    try:
        asked = (await world.ask("POST", "/v1/reconcile-reports")).json()["data"]["id"]

        async def finished() -> bool:
            return (await report(world, UUID(asked)))["finishedAt"] is not None

        await eventually(finished)
        assert len(await reports()) == before + 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

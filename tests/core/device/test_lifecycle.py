"""Devices live: what is asked of them happens to their phones, and what happens to their phones shows on them."""

from pathlib import Path

import pytest

from cloudphone_core.device.lifecycle.converging import phone_lost
from cloudphone_shared.database import announce_all
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.living import Life, found_in, lived_well
from tests.core.device.phones import Phones

pytestmark = pytest.mark.anyio


@pytest.fixture
def life(world: World, phones: Phones) -> Life:
    return Life(world, phones)


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
    [started] = await life.announced(device_id, "device.started")
    [stopped] = await life.announced(device_id, "device.stopped")
    assert started["runId"] == stopped["runId"] == str(run.run_id)
    assert run.started_at < run.stopped_at
    assert stopped["closedBy"] == "event"
    answer = await life.world.ask("GET", f"/v1/device-runs?ids={run.run_id}", by=life.world.service)
    assert answer.json()["data"]["found"][str(run.run_id)]["data"]["closedBy"] == "event"


async def test_a_reboot_keeps_the_data_a_reset_and_a_cleaning_leave_no_byte_of_it(life: Life, tmp_path: Path) -> None:
    device_id = await life.held()
    async with life.working():
        await life.done(device_id, "start")
        await life.mark(device_id, "former-secret")
        await life.done(device_id, "reboot")
        assert "former-secret" in await life.marked(device_id)
        assert found_in(tmp_path, "former-secret")

        await life.done(device_id, "reset")
        assert (await life.world.get(device_id))["state"] == "running"
        assert not found_in(tmp_path, "former-secret")
        assert "mark" not in await life.shell(device_id, "ls", "/sdcard")

        await life.mark(device_id, "second-secret")
        before = await life.row(device_id)
        await life.done(device_id, "stop")
        await life.done(device_id, "clean")
        assert not found_in(tmp_path, "second-secret")
        row = await life.row(device_id)
        assert (row.state, row.owner_id, row.container_id) == ("idle", None, None)
        assert row.generation == before.generation + 1

        bob = life.world.users.user(life.world.tenant, "Bob")
        await life.world.made(f"/v1/devices/{device_id}/assign", {"ownerId": bob.id})
        await life.done(device_id, "start")
        assert (await life.row(device_id)).volume_name != before.volume_name
        await life.done(device_id, "stop")
        answer = await life.world.ask("DELETE", f"/v1/devices/{device_id}")
        assert answer.status_code == 202
        assert (await life.ended(answer.json()["data"]))["state"] == "succeeded"
    assert (await life.world.ask("GET", f"/v1/devices/{device_id}")).status_code == 404
    assert await life.phones.provider.find({}) == []
    assert await life.phones.provider.volumes({}) == []
    await lived_well(life, device_id)


async def test_a_phone_that_died_is_started_again_and_its_run_ends_when_it_was_last_seen(life: Life) -> None:
    device_id = await life.held()
    async with life.working():
        await life.done(device_id, "start")
        row = await life.row(device_id)
        await life.phones.farm.crash(row.container_id)

        async with life.world.database.writing() as session:
            await announce_all(session, await phone_lost(session, row.id, row.run_id, "it was gone"))
        device = await life.world.get(device_id)
        assert (device["state"], device["desiredState"], device["lastError"]) == ("error", "running", "it was gone")
        [stopped] = await life.announced(device_id, "device.stopped")
        [run] = await life.runs(device_id)
        assert (run.closed_by, run.stopped_at) == ("heartbeat", run.last_seen_at)
        assert stopped["stoppedAt"] == stopped["startedAt"], "nobody has seen it since its start"

        assert await life.sweep() == 0, "not yet"
        await life.later(device_id, 5)
        assert await life.sweep() == 1
        await eventually(lambda: life.is_in(device_id, "running"))
        assert (await life.world.get(device_id))["lastError"] is None
        assert len(await life.runs(device_id)) == 2


async def test_a_start_that_is_stopped_half_way_ends_stopped(life: Life) -> None:
    device_id = await life.held()
    start = await life.asked(device_id, "start")
    stop = await life.asked(device_id, "stop")
    async with life.working():
        assert (await life.ended(start))["state"] == "cancelled"
        assert (await life.ended(stop))["state"] == "succeeded"
    assert await life.state(device_id) == "stopped"
    assert await life.runs(device_id) == []


async def test_what_takes_too_long_ends_in_error_and_its_worker_changes_nothing_more(life: Life) -> None:
    device_id = await life.held()
    operation = await life.asked(device_id, "start")

    async def too_late(point: str) -> None:
        if point == "start.done":
            await life.later(device_id, 3600)
            assert await life.sweep() == 1

    async with life.working(points=too_late):
        ended = await life.ended(operation)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "deadline")
    device = await life.world.get(device_id)
    assert device["state"] == "error"
    assert "did not end in its time" in device["lastError"]
    assert await life.runs(device_id) == []

    refused = await life.world.ask("POST", f"/v1/devices/{device_id}/start")
    assert refused.status_code == 409
    assert refused.json()["current_state"] == "error"
    async with life.working():
        assert (await life.done(device_id, "start", {"force": True}))["attempt"] == 1
    assert await life.state(device_id) == "running"


async def test_a_port_that_another_device_seems_to_have_is_taken_over(life: Life) -> None:
    ana, node = life.world.users.user(life.world.tenant, "Ana"), await life.world.node()
    one, other = [(await life.world.device(node=node, owner=ana))["id"] for _ in range(2)]
    async with life.working():
        await life.done(one, "start")
        port = (await life.row(one)).adb_port
        await life.done(one, "stop")
        await life.rows("UPDATE device.devices SET adb_port = :port WHERE id = :id", id=other, port=port)
        await life.done(one, "start")
    assert [(await life.world.get(id_))["adbPort"] for id_ in (one, other)] == [port, None]


async def test_a_batch_has_one_result_per_device(life: Life) -> None:
    mine = [await life.held() for _ in range(3)]
    idle = (await life.world.device())["id"]
    foreign = (await life.world.device(tenant=life.world.users.tenant()))["id"]
    tenant_admin = life.world.signer.headers(role="admin", scope="tenant", tenant=life.world.tenant)
    body = {"action": "start", "deviceIds": [*mine, idle, foreign, mine[0]]}
    again = {"Idempotency_Key": "once"}

    answer = await life.world.ask("POST", "/v1/devices/batch", body, by=tenant_admin, **again)
    repeated = await life.world.ask("POST", "/v1/devices/batch", body, by=tenant_admin, **again)

    assert answer.status_code == 202
    assert repeated.json() == answer.json()
    batch = answer.json()["data"]
    assert [item["deviceId"] for item in batch["items"]] == [*mine, idle, foreign]
    assert [(item["problem"] or {}).get("code") for item in batch["items"]] == [
        *[None] * 3,
        "state-conflict",
        "not-found",
    ]
    listed = await life.world.ask("GET", f"/v1/operations?batchId={batch['id']}&state=queued", by=tenant_admin)
    assert {one["deviceId"] for one in listed.json()["data"]["items"]} == set(mine)
    async with life.working():
        for item in batch["items"][:3]:
            assert (await life.ended(item["operation"]))["state"] == "succeeded"
    refused = await life.world.ask("POST", "/v1/devices/batch", {**body, "action": "freeze"}, by=life.world.operator)
    assert refused.status_code == 403


async def test_a_customer_lives_with_own_devices_only(life: Life) -> None:
    ana, bob = (life.world.users.user(life.world.tenant, name) for name in ("Ana", "Bob"))
    own, other = await life.held(ana), await life.held(bob)
    by = life.world.customer(ana)

    operation = await life.asked(own, "start", by=by)
    assert (await life.world.ask("POST", f"/v1/devices/{other}/start", by=by)).status_code == 404
    seen = await life.world.ask("GET", f"/v1/operations/{operation['id']}", by=life.world.customer(bob))
    assert seen.status_code == 404
    assert (await life.world.ask("POST", f"/v1/devices/{own}/clean", by=by)).status_code == 403
    listed = (await life.world.ask("GET", "/v1/operations", by=by)).json()["data"]["items"]
    assert [one["id"] for one in listed] == [operation["id"]]
    cancelled = await life.world.ask("POST", f"/v1/operations/{operation['id']}/cancel", by=by)
    assert cancelled.status_code == 202
    assert await life.state(own) == "stopping"

"""An order that is to be provisioned asks the scheduler for a device; whatever comes back, none is kept unasked."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from cloudphone_core.billing.replies import GRACE, give_up_waiting, hear_reply
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World

pytestmark = pytest.mark.anyio


async def provisioning(world: World) -> UUID:
    order = await world.order()
    await world.ok(
        "PATCH", f"/v1/orders/{order['id']}", world.admin, {"state": "provisioning", "reason": "paid by hand"}
    )
    return UUID(order["id"])


async def reply(world: World, order_id: UUID, **fields: Any) -> DeviceAllocateReplied:
    told = {"success": True, "device_id": uuid7(), "allocation_id": uuid7(), "fencing_token": 7, **fields}
    answer = DeviceAllocateReplied(saga_id=order_id, tenant_id=world.acme, **told)
    async with world.database.writing() as session:
        await hear_reply(session, answer, world.now)
    return answer


async def announced(world: World, kind: str) -> list[dict[str, Any]]:
    rows = await world.rows("SELECT payload FROM billing.outbox WHERE type = :kind ORDER BY id", kind=kind)
    return [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in rows]


async def the_order(world: World, order_id: UUID) -> dict[str, Any]:
    return (await world.ok("GET", f"/v1/orders/{order_id}", world.admin))["data"]


async def test_the_device_that_is_answered_is_the_orders_however_often_it_is_answered(world: World) -> None:
    order_id = await provisioning(world)
    asked = [one for one in await announced(world, "device.allocate.requested") if one["sagaId"] == str(order_id)]
    assert [one["userId"] for one in asked] == [str(world.ana.id)]
    answer = await reply(world, order_id)
    again = DeviceAllocateReplied(**{name: getattr(answer, name) for name in answer.__struct_fields__})
    async with world.database.writing() as session:
        await hear_reply(session, again, world.now)
    assert (await the_order(world, order_id))["deviceId"] == str(answer.device_id)
    assert str(answer.allocation_id) not in {one["allocationId"] for one in await announced(world, "device.release")}


async def test_a_refusal_fails_the_order_and_says_why(world: World) -> None:
    order_id = await provisioning(world)
    await reply(world, order_id, success=False, device_id=None, allocation_id=None, fencing_token=None,
                failure_reason="no device in eu-west is free")  # fmt: skip
    order = await the_order(world, order_id)
    assert order["state"] == "failed"
    assert any("no device in eu-west is free" in event["reason"] for event in order["history"])


async def test_what_comes_for_an_order_that_was_cancelled_is_given_back_with_its_token(world: World) -> None:
    order_id = await provisioning(world)
    for state in ("compensating", "cancelled"):
        await world.ok("PATCH", f"/v1/orders/{order_id}", world.admin, {"state": state, "reason": "changed her mind"})
    answer = await reply(world, order_id, fencing_token=9)
    (given,) = [one for one in await announced(world, "device.release") if one["deviceId"] == str(answer.device_id)]
    assert (given["allocationId"], given["fencingToken"]) == (str(answer.allocation_id), 9)
    assert (await the_order(world, order_id))["deviceId"] is None


async def test_an_order_that_nobody_answers_fails_in_the_end_and_a_late_device_is_given_back(world: World) -> None:
    order_id = await provisioning(world)
    before = world.now
    assert await give_up_waiting(world.database, before) == 0
    world.now = before + timedelta(minutes=10) + GRACE + timedelta(seconds=1)
    while await give_up_waiting(world.database, world.now):
        pass
    assert (await the_order(world, order_id))["state"] == "failed"
    answer = await reply(world, order_id)
    assert str(answer.device_id) in {one["deviceId"] for one in await announced(world, "device.release")}

"""What billing asks for over the bus, and what it is told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cloudphone_core.scheduler import queue, service
from cloudphone_shared.events.scheduler import (
    AllocationReleased,
    DeviceAllocateReplied,
    DeviceAllocateRequested,
    DeviceReleaseRequested,
)
from tests.core.scheduler.conftest import PATIENCE, World

pytestmark = pytest.mark.anyio


def order(world: World, **fields: Any) -> DeviceAllocateRequested:
    saga_id = uuid4()
    asked = {
        "saga_id": saga_id, "order_id": saga_id, "user_id": world.user.id, "tenant_id": world.tenant, "plan_id": None,
        "deadline": datetime.now(UTC) + timedelta(hours=1), **fields,
    }  # fmt: skip
    return DeviceAllocateRequested(**asked)


async def ask(world: World, asked: DeviceAllocateRequested) -> None:
    async with world.database.writing() as session:
        await service.request_for_order(session, asked, PATIENCE)


async def allocations(world: World) -> list[dict[str, Any]]:
    return (await world.got("/v1/allocations?sort=createdAt"))["items"]


async def replies(world: World) -> list[DeviceAllocateReplied]:
    return await world.announced(DeviceAllocateReplied)


def giving_back(allocation: dict[str, Any], token: int | None = None) -> DeviceReleaseRequested:
    return DeviceReleaseRequested(
        device_id=UUID(allocation["deviceId"]), allocation_id=UUID(allocation["id"]),
        fencing_token=token or allocation["fencingToken"], reason="cancelled",
    )  # fmt: skip


async def test_an_order_is_told_once_its_device_is_the_users(world: World) -> None:
    [phone] = await world.phones(await world.node())
    asked = order(world)
    for _ in range(2):
        await ask(world, asked)
    [given] = await allocations(world)
    assert await replies(world) == []
    for _ in range(2):
        await world.device_took(given)
    [told] = await replies(world)
    assert (told.saga_id, told.success, told.device_id) == (asked.saga_id, True, phone)
    assert (str(told.allocation_id), told.fencing_token) == (given["id"], given["fencingToken"])

    await ask(world, asked)
    assert await replies(world) == [told, told], "who asks again hears the same again"
    assert len(await allocations(world)) == 1


async def test_an_order_that_nothing_serves_in_time_is_told_so(world: World) -> None:
    asked, late = order(world), order(world, deadline=datetime.now(UTC) - timedelta(seconds=1))
    await ask(world, asked)
    await ask(world, late)
    await ask(world, order(world, constraints={"colour": "red"}))
    assert [reply.success for reply in await replies(world)] == [False, False]
    await world.rows("UPDATE scheduler.requests SET deadline_at = now() - interval '1 second' WHERE state = 'queued'")
    for _ in range(2):
        await queue.expire(world.database, PATIENCE)
    told = await replies(world)
    assert [(reply.saga_id, reply.success) for reply in told[2:]] == [(asked.saga_id, False)]
    assert told[0].failure_reason == "The request came after its deadline"
    assert "colour" in (told[1].failure_reason or "")


async def test_who_is_refused_everywhere_waits_no_longer(world: World) -> None:
    """Such as a user who may hold no device."""
    await world.phones(await world.node(), 9)
    await ask(world, order(world))
    for n in range(1, 6):
        assert await replies(world) == []
        await world.device_refused((await allocations(world))[-1], "the user is suspended")
        assert await world.serve() == (n < 5)
    [told] = await replies(world)
    assert (told.success, told.failure_reason) == (False, "the device refused: the user is suspended")


async def test_a_device_that_answers_after_the_deadline_is_given_back(world: World) -> None:
    await world.phones(await world.node())
    await ask(world, order(world))
    [given] = await allocations(world)
    await world.rows("UPDATE scheduler.requests SET deadline_at = now() - interval '1 second'")
    await world.rows("UPDATE scheduler.allocations SET lease_until = now() - interval '1 second'")
    await queue.expire(world.database, PATIENCE)
    [told] = await replies(world)
    assert (told.success, told.failure_reason) == (False, "the device did not answer in time")

    await world.device_took(given)

    assert [each.fencing_token for each in await world.announced(AllocationReleased)] == [given["fencingToken"]] * 2
    assert len(await replies(world)) == 1


async def test_only_the_matching_token_gives_an_orders_device_back(world: World) -> None:
    await world.phones(await world.node())
    await ask(world, order(world))
    [given] = await allocations(world)
    await world.device_took(given)
    async with world.database.writing() as session:
        for stale in (giving_back(given, 10**9), giving_back({**given, "deviceId": str(uuid4())})):
            assert not await service.release_for_order(session, stale, PATIENCE)
    assert (await allocations(world))[0]["state"] == "active"
    for _ in range(2):
        async with world.database.writing() as session:
            assert await service.release_for_order(session, giving_back(given), PATIENCE)
    assert (await allocations(world))[0]["state"] == "released"
    assert len(await world.announced(AllocationReleased)) == 1


async def test_an_order_given_back_before_its_device_answered_is_told_of_the_failure(world: World) -> None:
    await world.phones(await world.node())
    await ask(world, order(world))
    [given] = await allocations(world)
    async with world.database.writing() as session:
        await service.release_for_order(session, giving_back(given), PATIENCE)
    await world.device_took(given)
    assert [reply.success for reply in await replies(world)] == [False]
    assert (await allocations(world))[0]["state"] == "released"

"""Devices given and taken by the scheduler, frozen for arrears, their nodes seen to fall silent."""

import itertools
from uuid import UUID

import pytest

from cloudphone_core.device.allocations import obey_release, obey_reservation
from cloudphone_core.device.arrears import follow_arrears
from cloudphone_core.device.fleet import hear_of_node
from cloudphone_shared.contracts.user import User
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.device.conftest import World
from tests.core.device.living import Life
from tests.core.device.phones import Phones

pytestmark = pytest.mark.anyio


@pytest.fixture
def life(world: World, phones: Phones) -> Life:
    return Life(world, phones)


def reserved(world: World, device_id: str, user: User, token: int) -> AllocationReserved:
    return AllocationReserved(
        allocation_id=UUID(int=token),
        device_id=UUID(device_id),
        user_id=user.id,
        tenant_id=world.tenant,
        fencing_token=token,
    )


def released(order: AllocationReserved) -> AllocationReleased:
    return AllocationReleased(
        allocation_id=order.allocation_id,
        device_id=order.device_id,
        user_id=order.user_id,
        tenant_id=order.tenant_id,
        fencing_token=order.fencing_token,
        reason="the order ended",
    )


async def obey(world: World, order: AllocationReserved | AllocationReleased, user: User | None = None) -> None:
    async with world.database.writing() as session:
        if isinstance(order, AllocationReserved):
            await obey_reservation(session, order, user)
        else:
            await obey_release(session, order)


async def test_a_reserved_device_becomes_the_users_and_idle_again_when_it_is_released(life: Life) -> None:
    world, ana = life.world, life.world.users.user(life.world.tenant, "Ana")
    device_id = (await world.device())["id"]
    order = reserved(world, device_id, ana, 7)

    await obey(world, order, ana)
    await obey(world, order, ana)

    device = await world.get(device_id)
    assert (device["state"], device["ownerName"], device["allocationId"]) == (
        "allocated",
        "Ana",
        str(order.allocation_id),
    )
    [told] = await life.announced(device_id, "device.allocated")
    assert told["fencingToken"] == 7

    async with life.working():
        await life.done(device_id, "start")
        await obey(world, released(order))
        assert (await world.get(device_id))["state"] == "stopping"
        await eventually(lambda: life.is_in(device_id, "idle"))
    device = await world.get(device_id)
    assert (device["ownerId"], device["allocationId"], device["generation"]) == (None, None, 2)
    await obey(world, order, ana)
    assert await life.state(device_id) == "idle", "an order that was released is not obeyed again"


async def test_in_whatever_order_they_come_the_highest_token_decides(world: World, life: Life) -> None:
    ana, bob = (world.users.user(world.tenant, name) for name in ("Ana", "Bob"))
    for place in itertools.permutations(range(4)):
        device_id = (await world.device())["id"]
        first, second = reserved(world, device_id, ana, 5), reserved(world, device_id, bob, 6)
        orders = [(first, ana), (released(first), None), (second, bob), (released(second), None)]
        for n in place:
            await obey(world, *orders[n])
        row = await life.row(device_id)
        assert (row.state, row.owner_id, row.fencing_token) == ("idle", None, 6), place


async def test_what_cannot_be_given_is_refused_with_a_reason(world: World, life: Life) -> None:
    ana = world.users.user(world.tenant, "Ana")
    suspended = world.users.user(world.tenant, "Bob", status="suspended")
    stranger = world.users.user(world.users.tenant(), "Eve")
    busy = await life.held()
    for token, (device_id, user) in enumerate(
        [
            (busy, ana),
            ((await world.device())["id"], suspended),
            ((await world.device())["id"], stranger),
            ((await world.device())["id"], None),
            (str(uuid7()), ana),
        ],
        start=1,
    ):
        await obey(world, reserved(world, device_id, user or ana, token), user)
        [told] = await life.announced(device_id, "device.allocation.refused")
        assert (told["fencingToken"], bool(told["reason"])) == (token, True)


async def test_who_owes_finds_everything_frozen_and_starts_nothing(life: Life) -> None:
    world, ana = life.world, life.world.users.user(life.world.tenant, "Ana")
    running, fresh = await life.held(ana), await life.held(ana)
    async with life.working():
        await life.done(running, "start")

        async def owes(version: int, truth: bool) -> None:
            async with world.database.writing() as session:
                await follow_arrears(session, ana.id, version=version, owes=truth)

        await owes(2, truth=True)
        await owes(1, truth=False)
        await eventually(lambda: life.is_in(running, "frozen"))
        for device_id in (running, fresh):
            refused = await world.ask("POST", f"/v1/devices/{device_id}/start", {"force": True})
            assert refused.status_code == 409
        await owes(3, truth=False)
        assert await life.state(running) == "stopped"
        await life.done(running, "start")


async def test_a_silent_node_goes_offline_and_comes_back_but_is_never_taken_out_of_maintenance(world: World) -> None:
    node = await world.node()

    async def hear(online: bool) -> str:
        async with world.database.writing() as session:
            await hear_of_node(session, UUID(node["id"]), online=online)
        return (await world.ask("GET", f"/v1/nodes/{node['id']}")).json()["data"]["status"]

    assert [await hear(online) for online in (False, False, True)] == ["offline", "offline", "online"]
    await world.ask("PATCH", f"/v1/nodes/{node['id']}", {"status": "maintenance"})
    assert [await hear(False), await hear(True)] == ["maintenance"] * 2

"""The copies of an owner's name and e-mail address: where they end up, whatever the bus does to the events."""

import asyncio
from datetime import UTC, datetime
from itertools import permutations
from uuid import UUID

import msgspec
import pytest

from cloudphone_core.device.models import DeviceRow
from cloudphone_core.device.seed import SeedOwner
from cloudphone_core.device.service import release_orphans
from cloudphone_core.device.subscribers import USER_UPDATED, follow_user
from cloudphone_core.device.worker import run
from cloudphone_shared import entities
from cloudphone_shared.bus import Reject, connect
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import HEARTBEAT, Envelope, Event
from cloudphone_shared.events.user import UserDeleted, UserUpdated
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.device.conftest import Users, World
from tests.core.device.test_states import planted
from tests.servers import Nats

pytestmark = pytest.mark.anyio


def renamed(user: User, name: str, version: int) -> Envelope:
    return envelope(
        UserUpdated(
            user_id=user.id,
            tenant_id=user.tenant_id,
            name=name,
            email=f"{name.lower()}@example.com",
            status="active",
            changed=["name", "email"],
        ),
        user,
        version,
    )


def deleted(user: User, version: int) -> Envelope:
    return envelope(UserDeleted(user_id=user.id, tenant_id=user.tenant_id), user, version)


def envelope(event: Event, user: User, version: int) -> Envelope:
    return Envelope(
        event_id=uuid7(),
        type=event.type,
        version=event.version,
        time=datetime.now(UTC),
        source="user",
        entities={entities.user(user.id): version},
        data=msgspec.Raw(msgspec.json.encode(event)),
    )


async def hear(world: World, *envelopes: Envelope) -> None:
    for one in envelopes:
        async with world.database.writing() as session:
            if await first_time(session, USER_UPDATED, one):
                await follow_user(session, one)


async def copies(world: World, device_id: str | UUID) -> tuple[str | None, str | None]:
    device = await world.get(str(device_id))
    return device["ownerName"], device["ownerEmail"]


async def test_the_newest_name_stays_in_whatever_order_and_however_often_the_events_come(
    world: World, users: Users
) -> None:
    for order in permutations(range(3)):
        ana = users.user(world.tenant, "Ana")
        device = await world.device(owner=ana)
        events = [renamed(ana, f"Ana {n}", ana.version + n) for n in (1, 2, 3)]

        await hear(world, *(events[n] for n in order), *events)

        after = await world.get(device["id"])
        assert (after["ownerName"], after["ownerEmail"]) == ("Ana 3", "ana 3@example.com")
        assert after["version"] == device["version"]


async def test_a_name_read_before_a_rename_that_was_heard_first_is_not_written(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    device = await world.device()
    await hear(world, renamed(ana, "Anna", ana.version + 1))

    assigned = await world.ask("POST", f"/v1/devices/{device['id']}/assign", {"ownerId": ana.id})

    assert assigned.json()["data"]["ownerName"] == "Anna"


async def test_a_deleted_user_holds_nothing_any_more(world: World, users: Users) -> None:
    ana, bob = users.user(world.tenant, "Ana"), users.user(world.tenant, "Bob")
    held, other = await world.device(owner=ana), await world.device(owner=bob)

    await hear(world, deleted(ana, ana.version + 2), renamed(ana, "Ghost", ana.version + 1))

    device = await world.get(held["id"])
    assert (device["state"], device["ownerId"], device["ownerName"]) == ("idle", None, None)
    assert device["version"] > held["version"]
    assert (await world.ask("GET", f"/v1/users/{ana.id}/devices")).json()["data"] == []
    assert (await world.get(other["id"]))["ownerId"] == str(bob.id)


async def test_a_device_is_not_assigned_to_a_user_whose_deletion_was_heard(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    device = await world.device()
    await hear(world, deleted(ana, ana.version + 1))

    answer = await world.ask("POST", f"/v1/devices/{device['id']}/assign", {"ownerId": ana.id})

    assert answer.status_code == 400
    assert (await world.get(device["id"]))["state"] == "idle"


async def test_a_busy_device_of_a_deleted_user_forgets_the_name_at_once_and_the_user_when_it_stops(
    world: World, users: Users
) -> None:
    ana = users.user(world.tenant, "Ana")
    owner = SeedOwner(id=ana.id, name=ana.name, email=ana.email, version=ana.version)
    device_id = await planted(world, "running", owner)
    assert await copies(world, device_id) == ("Ana", "ana@example.com")

    await hear(world, deleted(ana, ana.version + 1))

    assert await copies(world, device_id) == (None, None)
    assert (await world.get(str(device_id)))["ownerId"] == str(ana.id)
    await stopped(world.database, device_id)
    async with world.database.writing() as session:
        assert await release_orphans(session) == 1
    assert (await world.get(str(device_id)))["state"] == "idle"
    assert (await world.get(str(device_id)))["ownerId"] is None


async def stopped(database: Database, device_id: UUID) -> None:
    """As a stop will leave the row."""
    async with database.writing() as session:
        row = await session.get_one(DeviceRow, device_id)
        row.state = "stopped"


async def test_an_envelope_that_is_not_what_its_type_says_is_parked(world: World, users: Users) -> None:
    ana = users.user(world.tenant, "Ana")
    good = renamed(ana, "Anna", 7)
    for bad in (
        msgspec.structs.replace(good, data=msgspec.Raw(b'{"userId": 7}')),
        msgspec.structs.replace(good, entities={}),
    ):
        with pytest.raises(Reject):
            await hear(world, bad)


async def test_the_worker_follows_the_bus_and_publishes_what_device_announces(
    world: World, users: Users, url: str, nats: Nats, core: CoreClients
) -> None:
    name = f"test-{uuid7().hex}"
    heard: list[Envelope] = []

    async def note(one: Envelope, delivery: object) -> None:
        if not one.type.endswith(HEARTBEAT):
            heard.append(one)

    bus = connect(nats.url, name=name)
    bus.subscribe("test.devices", ["device.#"], note)
    await bus.start()
    worker = asyncio.create_task(
        run(database=Database(url, schema="device", service="device"), bus=connect(nats.url, name=name), core=core)
    )
    try:
        ana = users.user(world.tenant, "Ana")
        device = await world.device(owner=ana)
        await eventually(lambda: of(heard, device["id"], "device.updated"))
        await bus.publish([renamed(ana, "Anna", ana.version + 1)] * 2)

        async def follows() -> bool:
            return await copies(world, device["id"]) == ("Anna", "anna@example.com")

        await eventually(follows)
        told = of(heard, device["id"], "device.updated")[-1]
        assert told.entities[entities.device(device["id"])] == device["version"]
        assert told.entities[entities.devices_of(ana.id)] > 0
        assert told.tenant_id == str(world.tenant)
        await bus.publish([deleted(ana, ana.version + 2)])
        await eventually(lambda: len(of(heard, device["id"], "device.updated")) == 2)
        assert of(heard, device["id"], "device.updated")[-1].causation_id is not None
    finally:
        worker.cancel()
        await asyncio.wait([worker])
        await bus.stop()


def of(heard: list[Envelope], device_id: str, kind: str) -> list[Envelope]:
    return [one for one in heard if one.type == kind and entities.device(device_id) in one.entities]

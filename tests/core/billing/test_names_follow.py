"""The names on orders follow their owners' announcements, however those arrive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import permutations
from uuid import UUID

import msgspec
import pytest

from cloudphone_core.billing import worker
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.subscribers import USER_UPDATED
from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceUpdated
from cloudphone_shared.events.user import UserUpdated
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.billing.conftest import World
from tests.servers import Nats

pytestmark = pytest.mark.anyio
FIRST = 10**12 + 1


@pytest.fixture
async def bus(world: World, database_url: str, nats: Nats) -> AsyncIterator[Bus]:
    """A bus that others announce on, with billing's worker at its other end."""
    name = f"t{uuid7().hex}"
    database = Database(database_url, schema=SCHEMA, service="billing")
    core = world.owners.clients(world.signer, "billing")
    working = asyncio.create_task(worker.run(database=database, bus=connect(nats.url, name=name), core=core))
    others = connect(nats.url, name=name)
    await others.start()
    yield others
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await others.stop()


def told(event: Event, entity: str, version: int) -> Envelope:
    return Envelope(
        event_id=uuid7(),
        type=event.type,
        version=1,
        time=datetime.now(UTC),
        source="user",
        entities={entity: version},
        data=msgspec.Raw(msgspec.json.encode(event)),
    )


def renamed_user(world: World, version: int) -> Envelope:
    event = UserUpdated(
        user_id=world.ana.id,
        tenant_id=world.acme,
        name=f"Ana {version - FIRST}",
        email=f"ana{version - FIRST}@example.com",
        status="active",
        changed=["name", "email"],
    )
    return told(event, entities.user(world.ana.id), version)


def renamed_device(world: World, device_id: UUID, version: int) -> Envelope:
    event = DeviceUpdated(
        device_id=device_id,
        tenant_id=world.acme,
        name=f"Pixel {version - FIRST}",
        user_id=world.ana.id,
        changed=["name"],
    )
    return told(event, entities.device(device_id), version)


async def taken_in(world: World, envelopes: list[Envelope]) -> None:
    ids = sorted({envelope.event_id for envelope in envelopes})

    async def all_are_in_the_inbox() -> bool:
        sql = "SELECT count(DISTINCT event_id) FROM billing.inbox WHERE event_id = ANY(:ids)"
        return (await world.rows(sql, ids=ids))[0][0] == len(ids)

    await eventually(all_are_in_the_inbox)


async def names(world: World, order_id: str) -> tuple[str, str, str]:
    order = (await world.ok("GET", f"/v1/orders/{order_id}", world.bff))["data"]
    return order["userName"], order["userEmail"], order["deviceName"]


async def test_the_last_announced_names_stand_after_every_order_of_arrival(world: World, bus: Bus) -> None:
    for arrival in permutations((1, 2, 3)):
        start = FIRST + arrival[0] * 100 + arrival[1] * 10 + arrival[2]
        world.ana = world.owners.user(world.acme)
        phone = world.owners.device(world.acme, world.ana.id)
        order = await world.order(world.customer(world.ana.id, world.acme), deviceId=str(phone.id))
        path, version = f"/v1/orders/{order['id']}", order["version"]
        envelopes = [renamed_user(world, FIRST + n) for n in arrival]
        envelopes += [renamed_device(world, phone.id, start + n * 1000) for n in arrival]
        await bus.publish([*envelopes, *reversed(envelopes)])
        await taken_in(world, envelopes)
        assert await names(world, order["id"]) == ("Ana 3", "ana3@example.com", f"Pixel {start + 3000 - FIRST}")
        shown = (await world.ok("GET", path, world.bff))["data"]
        assert shown["version"] == version, "a copy is not the order's own change"


async def test_an_order_made_after_the_announcement_and_from_an_older_answer_has_the_new_name(
    world: World, bus: Bus
) -> None:
    """The owner was asked before its change; its announcement came in before the order was written."""
    phone = world.owners.device(world.acme, world.ana.id)
    envelopes = [renamed_user(world, FIRST + 4), renamed_device(world, phone.id, FIRST + 4)]
    await bus.publish(envelopes)
    await taken_in(world, envelopes)
    order = await world.order(deviceId=str(phone.id))
    assert await names(world, order["id"]) == ("Ana 4", "ana4@example.com", "Pixel 4")


async def test_what_billing_does_is_announced_with_its_versions(world: World, bus: Bus) -> None:
    order = await world.order()
    cancelled = (await world.ok("POST", f"/v1/orders/{order['id']}/cancel", world.as_ana, {}))["data"]
    sql = """SELECT type, entities, seq, headers ->> 'tenant_id' AS tenant_id FROM billing.outbox
             WHERE entities ? :entity AND published_at IS NOT NULL ORDER BY seq"""
    entity = f"order:{order['id']}"

    async def published() -> list[object] | None:
        rows = await world.rows(sql, entity=entity)
        return rows if len(rows) == 4 else None

    rows = await eventually(published)
    assert [row.type for row in rows] == ["order.created", *["order.state.changed"] * 3]
    versions = [row.entities[entity] for row in rows]
    assert versions == sorted(set(versions))
    assert (versions[1], versions[3]) == (order["version"], cancelled["version"])
    assert f"orders-of:{world.ana.id}" in rows[0].entities
    assert {row.tenant_id for row in rows} == {str(world.acme)}


async def test_an_announcement_that_makes_no_sense_is_parked_and_holds_nobody_up(world: World, bus: Bus) -> None:
    order = await world.order()
    good = renamed_user(world, FIRST + 5)
    nameless = msgspec.structs.replace(renamed_user(world, FIRST + 6), data=msgspec.Raw(b'{"userId": 1}'))
    nothing = msgspec.structs.replace(renamed_user(world, FIRST + 7), entities={})
    await bus.publish([nameless, nothing, good])
    await taken_in(world, [good])
    assert (await world.ok("GET", f"/v1/orders/{order['id']}", world.bff))["data"]["userName"] == "Ana 5"

    async def parked() -> bool:
        dead = await bus.list_dead(USER_UPDATED)
        return {letter.envelope.event_id for letter in dead if letter.envelope} == {nameless.event_id, nothing.event_id}

    await eventually(parked)

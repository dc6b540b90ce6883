"""A device that is cleaned or deleted takes its installations with it; what comes afterwards stays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
import pytest

from cloudphone_core.app import worker
from cloudphone_core.app.models import SCHEMA
from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceDeleted, DeviceStatusChanged
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.app.conftest import RULES, TO_INSTALLED, World
from tests.servers import Nats

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bus(world: World, database_url: str, nats: Nats) -> AsyncIterator[Bus]:
    """A bus that the device service announces on, with app's worker at its other end."""
    name = f"t{uuid7().hex}"
    database = Database(database_url, schema=SCHEMA, service="app")
    working = asyncio.create_task(
        worker.run(
            database=database,
            bus=connect(nats.url, name=name),
            storage=world.storage,
            rules=RULES,
            now=lambda: world.now,
        )
    )
    others = connect(nats.url, name=name)
    await others.start()
    yield others
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await others.stop()


def told(world: World, event: Event, at: datetime) -> Envelope:
    return Envelope(
        event_id=uuid7(),
        type=event.type,
        version=1,
        time=at,
        source="device",
        entities={entities.device(world.phone.id): 10**12 + 2},
        data=msgspec.Raw(msgspec.json.encode(event)),
    )


def state_changed(world: World, state: str) -> Event:
    return DeviceStatusChanged(
        device_id=world.phone.id,
        tenant_id=world.acme,
        user_id=None,
        old_status="allocated",
        new_status=state,
        reason="unassigned",
    )


def deleted(world: World) -> Event:
    return DeviceDeleted(device_id=world.phone.id, tenant_id=world.acme)


async def states(world: World) -> list[str]:
    sql = "SELECT state FROM app.installations WHERE device_id = :id ORDER BY created_at, id"
    return [row.state for row in await world.rows(sql, id=world.phone.id)]


@pytest.mark.parametrize("kind", ["cleaning", "resetting", "deleted"])
async def test_installations_end_with_the_volume_and_later_ones_stay(world: World, bus: Bus, kind: str) -> None:
    made = [await world.install(await world.version(await world.app())) for _ in range(4)]
    await world.walk(made[0], *TO_INSTALLED)
    await world.walk(made[1], "downloading")
    await world.walk(made[2], "failed")
    await world.walk(made[3], *TO_INSTALLED, "uninstalling")
    entity = f"installations:{world.phone.id}"
    before = (await world.listed(world.bff))["entities"][entity]
    lost = told(world, deleted(world) if kind == "deleted" else state_changed(world, kind), world.now)
    world.now += timedelta(seconds=1)
    await world.install(await world.version(await world.app()))

    await bus.publish([told(world, state_changed(world, "running"), world.now), lost, lost])

    async def ended() -> bool:
        return (await states(world))[0] == "uninstalled"

    await eventually(ended)
    assert await states(world) == ["uninstalled", "cancelled", "failed", "uninstalled", "pending"]
    listed = await world.listed(world.bff)
    assert [one["state"] for one in listed["data"]] == ["failed", "pending"]
    assert listed["entities"][entity] == before + 2
    sql = """SELECT payload ->> 'oldState' AS old, payload ->> 'newState' AS new FROM app.outbox
             WHERE payload ->> 'installationId' = :id ORDER BY id DESC LIMIT 2"""
    steps = await world.rows(sql, id=made[0]["id"])
    assert [(step.old, step.new) for step in steps] == [("uninstalling", "uninstalled"), ("installed", "uninstalling")]

"""A bus beside the platform's own services: what it tells, and what billing's worker has taken in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import text

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.platform import Platform


class Wire:
    def __init__(self, bus: Bus, database: Database) -> None:
        self.bus, self.database = bus, database

    async def tell(self, *events: Event) -> list[Envelope]:
        told = [
            Envelope(
                event_id=uuid7(), type=event.type, version=1, time=datetime.now(UTC), source="device",
                data=msgspec.Raw(msgspec.json.encode(event)),
            )
            for event in events
        ]  # fmt: skip
        await self.bus.publish(told)
        return told

    async def taken_in(self, queue: str, *told: Envelope) -> None:
        async def all_are_there() -> bool:
            return {envelope.event_id for envelope in told} <= await self.seen_by(queue)

        await eventually(all_are_there)

    async def seen_by(self, queue: str) -> set[UUID]:
        async with self.database.reading() as session:
            found = await session.execute(
                text("SELECT event_id FROM billing.inbox WHERE consumer = :queue"), {"queue": queue}
            )
            return set(found.scalars())


@asynccontextmanager
async def wired(platform: Platform) -> AsyncIterator[Wire]:
    bus = connect(platform.environment["CLOUDPHONE_BUS_URL"])
    await bus.start()
    url = platform.databases["CLOUDPHONE_BILLING_DATABASE_URL"]
    database = Database(url, schema="billing", service="billing", pool_size=2)
    yield Wire(bus, database)
    await bus.stop()
    await database.close()


def run_of(user_id: str, device_id: str, *, began: timedelta, ended: timedelta) -> tuple[DeviceStarted, DeviceStopped]:
    """A run of the user's device, from and to so long ago, as its owner tells of it."""
    now = datetime.now(UTC)
    facts: dict[str, Any] = {
        "device_id": UUID(device_id), "tenant_id": uuid4(), "user_id": UUID(user_id), "run_id": uuid7(),
        "started_at": now - began,
    }  # fmt: skip
    return DeviceStarted(**facts), DeviceStopped(**facts, stopped_at=now - ended, reason="asked for")

"""Metering: starts and stops of runs, taken in as the bus brings them, eight at a time from each queue."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cloudphone_core.billing import subscribers
from cloudphone_core.billing.models import SCHEMA
from cloudphone_shared.bus import Delivery
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand

DEVICES, RUNS = 200, 5
AT_ONCE = 8
Take = Callable[[Envelope, Delivery], Awaitable[None]]


async def metering(stand: Stand, figures: Figures) -> None:
    """Of 200 devices five runs each: from a handler's call to its commit, with inbox, interval and announcement."""
    devices = stand.effort.less(DEVICES, 20)
    async with _billing(stand) as handlers:
        for _ in range(stand.effort.rounds):
            starts, stops = _told(devices)
            began, used = time.perf_counter(), time.process_time()
            await asyncio.gather(
                _taken_in(handlers[DeviceStarted.type], starts), _taken_in(handlers[DeviceStopped.type], stops)
            )
            events = len(starts) + len(stops)
            figures.add("metering_events_per_s", events / (time.perf_counter() - began), "1/s")
            figures.add("metering_cpu_us", 1e6 * (time.process_time() - used) / events, "µs")


async def _taken_in(take: Take, envelopes: Sequence[Envelope]) -> None:
    waiting = iter(envelopes)

    async def one_after_another() -> None:
        for envelope in waiting:
            await take(envelope, Delivery(queue="", attempt=1))

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


def _told(devices: int) -> tuple[list[Envelope], list[Envelope]]:
    starts, stops = list[Envelope](), list[Envelope]()
    present = datetime.now(UTC)
    owners = [(uuid7(), uuid7()) for _ in range(devices)]
    for number in range(RUNS, 0, -1):
        for device, user in owners:
            began = present - number * timedelta(hours=1)
            run: dict[str, Any] = {
                "device_id": device, "tenant_id": user, "user_id": user, "run_id": uuid7(), "started_at": began,
            }  # fmt: skip
            starts.append(_envelope(DeviceStarted(**run)))
            stops.append(_envelope(DeviceStopped(**run, stopped_at=began + timedelta(minutes=30), reason="bench")))
    return starts, stops


def _envelope(event: Event) -> Envelope:
    data = msgspec.Raw(msgspec.json.encode(event))
    return Envelope(event_id=uuid7(), type=event.type, version=1, time=datetime.now(UTC), source="device", data=data)


class _Handlers(dict[str, Take]):
    """Stands where the bus would."""

    def subscribe(self, queue: str, patterns: Sequence[str], handler: Take) -> None:
        self[patterns[0]] = handler


@asynccontextmanager
async def _billing(stand: Stand) -> AsyncGenerator[dict[str, Take]]:
    url = await stand.postgres.database()
    await migrate(url, "billing")
    database = Database(url, schema=SCHEMA, service="billing", pool_size=10)
    handlers: Any = _Handlers()
    subscribers.subscribe(handlers, database)
    yield handlers
    await database.close()

"""What billing does when others announce: the names on orders follow their owners, runs are metered, and the devices
that orders asked for are bound to them.

Duplicated, late and swapped events are harmless: of each owner's row only the highest version counts, a run's interval
follows from all that is known of it, and a device that comes too late is given back.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.errors import Conflict, Invalid
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceStarted, DeviceStopped, DeviceUpdated
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from cloudphone_shared.events.user import UserUpdated

from . import runs
from .metering import check_interval
from .orders import names
from .rating.told import note
from .sagas.replies import hear_reply

USER_UPDATED = "billing-service.user-updated"
DEVICE_UPDATED = "billing-service.device-updated"
DEVICE_STARTED = "billing-service.device-started"
DEVICE_STOPPED = "billing-service.device-stopped"
DEVICE_ALLOCATED = "billing-service.saga-device-allocate"
E = TypeVar("E", bound=Event)


def subscribe(bus: Bus, database: Database, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Before the bus is started."""

    async def user_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, UserUpdated)
        version = _version(envelope, entities.user(event.user_id))
        async with database.writing() as session:
            if await first_time(session, USER_UPDATED, envelope):
                await names.copy_user(session, event.user_id, version, event.name, event.email)

    async def device_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, DeviceUpdated)
        version = _version(envelope, entities.device(event.device_id))
        async with database.writing() as session:
            if await first_time(session, DEVICE_UPDATED, envelope):
                await names.copy_device(session, event.device_id, version, event.name)

    async def device_started(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, DeviceStarted)
        await heard(DEVICE_STARTED, envelope, msgspec.convert(event, runs.RunFact, from_attributes=True))

    async def device_stopped(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, DeviceStopped)
        await heard(DEVICE_STOPPED, envelope, msgspec.convert(event, runs.RunFact, from_attributes=True))

    async def heard(queue: str, envelope: Envelope, fact: runs.RunFact) -> None:
        try:
            check_interval(fact.started_at, fact.stopped_at, now())
            async with database.writing() as session:
                if await first_time(session, queue, envelope):
                    told_at = fact.stopped_at or fact.started_at
                    note(session, fact.run_id, envelope.event_id, envelope.type, told_at, now())
                    await runs.hear(session, fact, now())
        except (Conflict, Invalid) as refusal:
            # Parked, not lost: an operator sees which two facts contradict each other.
            raise Reject(str(refusal)) from refusal

    async def device_allocated(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, DeviceAllocateReplied)
        async with database.writing() as session:
            if await first_time(session, DEVICE_ALLOCATED, envelope):
                await hear_reply(session, event, now())

    bus.subscribe(USER_UPDATED, [UserUpdated.type], user_updated)
    bus.subscribe(DEVICE_UPDATED, [DeviceUpdated.type], device_updated)
    bus.subscribe(DEVICE_STARTED, [DeviceStarted.type], device_started)
    bus.subscribe(DEVICE_STOPPED, [DeviceStopped.type], device_stopped)
    # By its full name: `device.allocate.*` would bring our own requests back.
    bus.subscribe(DEVICE_ALLOCATED, [DeviceAllocateReplied.type], device_allocated)


def _opened(envelope: Envelope, kind: type[E]) -> E:
    """Raises Reject for data that is not what its type says."""
    try:
        return msgspec.json.decode(envelope.data, type=kind)
    except msgspec.MsgspecError as error:
        raise Reject(f"not a {kind.type}: {error}") from error


def _version(envelope: Envelope, entity: str) -> int:
    if entity not in envelope.entities:
        raise Reject(f"{envelope.type} does not name {entity}")
    return envelope.entities[entity]

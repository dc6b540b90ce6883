"""What billing does when others announce: the names on orders follow their owners.

Duplicated, late and swapped events are harmless: of each owner's row only the highest version counts.
"""

from typing import TypeVar

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceUpdated
from cloudphone_shared.events.user import UserUpdated

from . import service

USER_UPDATED = "billing-service.user-updated"
DEVICE_UPDATED = "billing-service.device-updated"
E = TypeVar("E", bound=Event)


def subscribe(bus: Bus, database: Database) -> None:
    """Before the bus is started."""

    async def user_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, UserUpdated)
        version = _version(envelope, entities.user(event.user_id))
        async with database.writing() as session:
            if await first_time(session, USER_UPDATED, envelope):
                await service.copy_user(session, event.user_id, version, event.name, event.email)

    async def device_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = _opened(envelope, DeviceUpdated)
        version = _version(envelope, entities.device(event.device_id))
        async with database.writing() as session:
            if await first_time(session, DEVICE_UPDATED, envelope):
                await service.copy_device(session, event.device_id, version, event.name)

    bus.subscribe(USER_UPDATED, [UserUpdated.type], user_updated)
    bus.subscribe(DEVICE_UPDATED, [DeviceUpdated.type], device_updated)


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

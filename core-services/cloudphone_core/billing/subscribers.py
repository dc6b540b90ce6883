"""What billing does when others announce: the names on orders follow their owners."""

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceUpdated
from cloudphone_shared.events.user import UserUpdated

from . import service

USER_UPDATED = "billing-service.user-updated"
DEVICE_UPDATED = "billing-service.device-updated"


def subscribe(bus: Bus, database: Database) -> None:
    async def user_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = msgspec.json.decode(envelope.data, type=UserUpdated)
        version = envelope.entities[entities.user(event.user_id)]
        async with database.writing() as session:
            if await first_time(session, USER_UPDATED, envelope):
                await service.copy_user(session, event.user_id, version, event.name, event.email)

    async def device_updated(envelope: Envelope, delivery: Delivery) -> None:
        event = msgspec.json.decode(envelope.data, type=DeviceUpdated)
        version = envelope.entities[entities.device(event.device_id)]
        async with database.writing() as session:
            if await first_time(session, DEVICE_UPDATED, envelope):
                await service.copy_device(session, event.device_id, version, event.name)

    bus.subscribe(USER_UPDATED, [UserUpdated.type], user_updated)
    bus.subscribe(DEVICE_UPDATED, [DeviceUpdated.type], device_updated)

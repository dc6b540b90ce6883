"""What the app service does when others announce: a device's installations end with its volume."""

import msgspec

from cloudphone_shared.bus import Bus, Delivery
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceDeleted, DeviceStatusChanged

from . import service

VOLUME_LOST = "app-service.volume-lost"
CLEANED = "cleaning"
"""The state in which a device is given a new volume."""


def subscribe(bus: Bus, database: Database) -> None:
    async def volume_lost(envelope: Envelope, delivery: Delivery) -> None:
        if envelope.type == DeviceDeleted.type:
            device_id = msgspec.json.decode(envelope.data, type=DeviceDeleted).device_id
        else:
            event = msgspec.json.decode(envelope.data, type=DeviceStatusChanged)
            if event.new_status != CLEANED:
                return
            device_id = event.device_id
        async with database.writing() as session:
            if await first_time(session, VOLUME_LOST, envelope):
                await service.end_all(session, device_id, envelope.time)

    bus.subscribe(VOLUME_LOST, [DeviceDeleted.type, DeviceStatusChanged.type], volume_lost)

"""What the app service does when others announce: a device's installations end with its volume."""

from uuid import UUID

import msgspec

from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceDeleted, DeviceStatusChanged

from . import service

VOLUME_LOST = "app-service.volume-lost"
CLEANED = "cleaning"
"""The state in which a device is given a new volume."""


def subscribe(bus: Bus, database: Database) -> None:
    """Before the bus is started."""

    async def volume_lost(envelope: Envelope, delivery: Delivery) -> None:
        device_id = _device_without_volume(envelope)
        if device_id is None:
            return
        async with database.writing() as session:
            if await first_time(session, VOLUME_LOST, envelope):
                await service.end_all(session, device_id, envelope.time)

    bus.subscribe(VOLUME_LOST, [DeviceDeleted.type, DeviceStatusChanged.type], volume_lost)


def _device_without_volume(envelope: Envelope) -> UUID | None:
    """Raises Reject for data that is not what its type says."""
    try:
        if envelope.type == DeviceDeleted.type:
            return msgspec.json.decode(envelope.data, type=DeviceDeleted).device_id
        event = msgspec.json.decode(envelope.data, type=DeviceStatusChanged)
    except msgspec.MsgspecError as error:
        raise Reject(f"not a {envelope.type}: {error}") from error
    return event.device_id if event.new_status == CLEANED else None

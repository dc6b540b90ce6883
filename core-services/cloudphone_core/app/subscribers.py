"""What the app service does when others announce: a device's installations end with its volume, and go on as the device
service reports."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import (
    AppInstallCompleted,
    AppInstallFailed,
    AppInstallProgressed,
    AppUninstallCompleted,
    AppUninstallFailed,
    DeviceDeleted,
    DeviceStatusChanged,
)

from . import reporting

INSTALL_STATUS = "app-service.install-status"
VOLUME_LOST = "app-service.volume-lost"
WIPED = ("cleaning", "resetting")
"""The states in which a device is given a new volume."""


REPORTS: dict[str, type[reporting.Report]] = {
    event.type: event
    for event in (
        AppInstallProgressed,
        AppInstallCompleted,
        AppInstallFailed,
        AppUninstallCompleted,
        AppUninstallFailed,
    )
}


def subscribe(bus: Bus, database: Database, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Before the bus is started."""

    async def volume_lost(envelope: Envelope, delivery: Delivery) -> None:
        device_id = _device_without_volume(envelope)
        if device_id is None:
            return
        async with database.writing() as session:
            if await first_time(session, VOLUME_LOST, envelope):
                await reporting.end_all(session, device_id, envelope.time)

    async def reported(envelope: Envelope, delivery: Delivery) -> None:
        try:
            report = msgspec.json.decode(envelope.data, type=REPORTS[envelope.type])
        except (msgspec.MsgspecError, KeyError) as error:
            raise Reject(f"not a {envelope.type}: {error!r}") from error
        async with database.writing() as session:
            if await first_time(session, INSTALL_STATUS, envelope):
                await reporting.take_report(session, report, now())

    bus.subscribe(INSTALL_STATUS, list(REPORTS), reported)
    bus.subscribe(VOLUME_LOST, [DeviceDeleted.type, DeviceStatusChanged.type], volume_lost)


def _device_without_volume(envelope: Envelope) -> UUID | None:
    """Raises Reject for data that is not what its type says."""
    try:
        if envelope.type == DeviceDeleted.type:
            return msgspec.json.decode(envelope.data, type=DeviceDeleted).device_id
        event = msgspec.json.decode(envelope.data, type=DeviceStatusChanged)
    except msgspec.MsgspecError as error:
        raise Reject(f"not a {envelope.type}: {error}") from error
    return event.device_id if event.new_status in WIPED else None

"""What the app service asks for, as operations: one for each attempt, however often and in whatever order it is asked.

An operation's id follows from the installation and its attempt. An end that is asked for before its beginning leaves an
operation that has ended, and the beginning that comes later finds it there.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database import Announcement, Database, announce_all, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.app import AppInstallCancelled, AppInstallRequested, AppUninstallRequested
from cloudphone_shared.events.device import AppInstallFailed, AppUninstallFailed

from ..models import DeviceRow, OperationRow
from ..operations.requesting import ask_to_cancel, changed, request_operation

APP_INSTALL = "device-service.app-install"
APP_UNINSTALL = "device-service.app-uninstall"
PATIENCE_SECONDS = 1200.0
"""What an installation may take, with all that it waits for. The app service waits longer."""
_NAMESPACE = UUID("6f1c9f3e-6f0b-5a55-9d0f-3d8a0f6a1b52")
_REQUESTED_BY = "app"


def subscribe_installing(bus: Bus, database: Database, wake: Callable[[], None]) -> None:
    """Before the bus is started."""

    async def install_asked(envelope: Envelope, delivery: Delivery) -> None:
        asked = _read(envelope, AppInstallRequested, AppInstallCancelled)
        async with database.writing() as session:
            if await first_time(session, APP_INSTALL, envelope):
                await take_request(session, asked)
        wake()

    async def uninstall_asked(envelope: Envelope, delivery: Delivery) -> None:
        asked = _read(envelope, AppUninstallRequested)
        async with database.writing() as session:
            if await first_time(session, APP_UNINSTALL, envelope):
                await take_request(session, asked)
        wake()

    bus.subscribe(APP_INSTALL, [AppInstallRequested.type, AppInstallCancelled.type], install_asked)
    bus.subscribe(APP_UNINSTALL, [AppUninstallRequested.type], uninstall_asked)


Asked = AppInstallRequested | AppInstallCancelled | AppUninstallRequested


async def take_request(session: AsyncSession, asked: Asked) -> None:
    device = await session.get(DeviceRow, asked.device_id, with_for_update=True, populate_existing=True)
    if device is None or device.deleted_at is not None:
        await announce_all(session, [Announcement(event=_no_device(asked))])
        return
    if not isinstance(asked, AppInstallCancelled) and is_anothers(asked, device.owner_id):
        event = _failed(asked, "device-reassigned", "The device has changed hands since it was asked for")
        await announce_all(session, [Announcement(event=event)])
        return
    kind: OperationKind = "uninstall" if isinstance(asked, AppUninstallRequested) else "install"
    operation_id = operation_of(kind, asked.installation_id, asked.attempt)
    row = await session.get(OperationRow, operation_id, with_for_update=True, populate_existing=True)
    if isinstance(asked, AppInstallCancelled):
        told = ask_to_cancel(row, device.owner_id) if row else _cancelled_before(session, device, operation_id, asked)
    else:
        told = [] if row else _begun(session, device, kind, operation_id, asked)
    await announce_all(session, told)


def is_anothers(asked: AppInstallRequested | AppUninstallRequested, owner_id: UUID | None) -> bool:
    """Whether it was asked for while somebody else held the device: what comes late is not for who holds it now."""
    return asked.user_id is not None and asked.user_id != owner_id


def operation_of(kind: OperationKind, installation_id: UUID, attempt: int) -> UUID:
    return uuid5(_NAMESPACE, f"{kind} {installation_id} {attempt}")


def _begun(
    session: AsyncSession, device: DeviceRow, kind: OperationKind, operation_id: UUID, asked: Asked
) -> list[Announcement]:
    row, told = request_operation(
        session, device, kind, by=_by(asked), request=msgspec.to_builtins(asked), operation_id=operation_id
    )
    # It waits for a device that is on its way to another state, and has its own time.
    row.deadline_at = datetime.now(UTC) + timedelta(seconds=PATIENCE_SECONDS)
    return told


def _cancelled_before(
    session: AsyncSession, device: DeviceRow, operation_id: UUID, asked: AppInstallCancelled
) -> list[Announcement]:
    request: dict[str, Any] = msgspec.to_builtins(asked)
    row, _ = request_operation(session, device, "install", by=_by(asked), request=request, operation_id=operation_id)
    row.state, row.step, row.error_code, row.error_detail = "cancelled", "cancelled", "cancelled", "It was cancelled"
    row.cancel_requested, row.finished_at = True, row.created_at
    return [changed(row, device.owner_id), Announcement(event=_failed(asked, "cancelled", "", cancelled=True))]


def _by(asked: Asked) -> str:
    return str(getattr(asked, "user_id", None) or _REQUESTED_BY)


def _no_device(asked: Asked) -> AppInstallFailed | AppUninstallFailed:
    cancelled = isinstance(asked, AppInstallCancelled)
    return _failed(asked, "device-gone", "There is no such device", cancelled=cancelled)


def _failed(asked: Asked, code: str, error: str, *, cancelled: bool = False) -> AppInstallFailed | AppUninstallFailed:
    about: dict[str, Any] = {
        "installation_id": asked.installation_id,
        "device_id": asked.device_id,
        "tenant_id": asked.tenant_id,
        "attempt": asked.attempt,
    }
    if isinstance(asked, AppUninstallRequested):
        return AppUninstallFailed(**about, code=code, error=error)
    return AppInstallFailed(**about, code=code, error=error, cancelled=cancelled)


def _read(envelope: Envelope, *types: type[Asked]) -> Asked:
    """Raises Reject for data that is not what its type says."""
    try:
        return msgspec.json.decode(envelope.data, type={each.type: each for each in types}[envelope.type])
    except (msgspec.MsgspecError, KeyError) as error:
        raise Reject(f"not a {envelope.type}: {error!r}") from error

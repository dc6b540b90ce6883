"""What can be asked of a device's life: its state changes at once, the work is an operation."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.operation import BatchAction, OperationKind
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import Conflict, DomainError, NotFound
from cloudphone_shared.ids import uuid7

from ..grants import end_grants
from ..models import ArrearsRow, DeviceRow, DeviceRunRow, OperationRow
from ..moves import DEADLINES, forget_owner, lock_device, move
from ..operations.job import ON_THE_PHONE
from ..operations.requesting import ask_to_cancel, done_at_once, request_operation
from ..states import check_transition, refusal
from .settling import BUSY, cleaned, deleted

Versions = dict[str, int]
Accepted = tuple[OperationRow, list[Announcement]]

PERMISSIONS: Mapping[OperationKind, str] = {
    "start": "devices:write",
    "stop": "devices:write",
    "reboot": "devices:write",
    "reset": "devices:write",
    "snapshot": "devices:write",
    "restore": "devices:write",
    "delete_snapshot": "devices:write",
    "clean": "devices:manage",
    "delete": "devices:manage",
    "freeze": "arrears:manage",
    "unfreeze": "arrears:manage",
}
"""What a caller needs for it, beside seeing the device."""

_ENDS_ALL: frozenset[OperationKind] = frozenset({"clean", "delete", "reset", "restore"})
"""After these there is no more what else was to be done on the phone."""

_DESIRED: Mapping[OperationKind, DeviceState] = {
    "start": "running",
    "stop": "stopped",
    "reboot": "running",
    "clean": "idle",
    "delete": "deleted",
    "freeze": "frozen",
    "unfreeze": "stopped",
}


async def command(
    session: AsyncSession,
    caller: Caller,
    kind: OperationKind,
    device_id: UUID,
    expected: int | None = None,
    *,
    force: bool = False,
) -> tuple[OperationRow, Versions]:
    """Raises NotFound, Forbidden, StateConflict, Conflict, PreconditionFailed."""
    caller.require(PERMISSIONS[kind])
    device = await lock_device(session, caller, device_id, expected)
    row, told = await accept(session, device, kind, by=caller.id, force=force)
    return row, await announce_all(session, told)


async def command_all(
    session: AsyncSession, caller: Caller, action: BatchAction, device_ids: Sequence[UUID]
) -> tuple[UUID, dict[UUID, OperationRow | DomainError], Versions]:
    """The same for many, each accepted or refused by itself; they are locked together, in the order of their ids."""
    caller.require(PERMISSIONS[action])
    batch_id = uuid7()
    devices = await _lock_all(session, device_ids)
    answers: dict[UUID, OperationRow | DomainError] = {}
    told: list[Announcement] = []
    for device_id in dict.fromkeys(device_ids):
        device = devices.get(device_id)
        if device is None or device.deleted_at is not None or not caller.sees(device.tenant_id, device.owner_id):
            answers[device_id] = NotFound()
            continue
        try:
            answers[device_id], news = await accept(session, device, action, by=caller.id, batch_id=batch_id)
            told += news
        except DomainError as refused:
            answers[device_id] = refused
    return batch_id, answers, await announce_all(session, told)


async def accept(
    session: AsyncSession,
    device: DeviceRow,
    kind: OperationKind,
    *,
    by: str,
    force: bool = False,
    batch_id: UUID | None = None,
    unasked: bool = False,
    reason: str | None = None,
) -> Accepted:
    """Changes the state of a locked device and asks for the work. `unasked`: the platform by itself wants it.

    What is refused has changed nothing yet. Raises StateConflict, and Conflict for a start that may not be.
    """
    await _check(session, device, kind, force=force)
    if not unasked:
        device.recoveries, device.recover_at = 0, None
    device.desired_state = _DESIRED.get(kind, device.desired_state)
    reason = reason or _REASONS[kind]
    if kind == "unfreeze":
        told = await move(session, device, "stopped", reason, by)
        return _at_once(session, device, kind, by, batch_id, told)
    if kind == "freeze" and device.state == "stopped":
        told = await move(session, device, "frozen", reason, by)
        return _at_once(session, device, kind, by, batch_id, told)
    request = _request(device, kind)
    told = await _cancel_others(session, device, also=ON_THE_PHONE if kind in _ENDS_ALL else frozenset())
    told += await move(session, device, BUSY[kind], reason, by)
    if kind in ("clean", "delete"):
        told += await end_grants(session, device.id)
    if kind == "clean":
        told += forget_owner(device)
    if kind in ("clean", "delete") and device.volume_name is None:
        told += await (cleaned if kind == "clean" else deleted)(session, device, by)
        return _at_once(session, device, kind, by, batch_id, told)
    row, news = request_operation(session, device, kind, by=by, request=request, batch_id=batch_id)
    return row, told + news


async def _check(session: AsyncSession, device: DeviceRow, kind: OperationKind, *, force: bool) -> None:
    if kind == "unfreeze":
        # Only a freeze ends this way: what else becomes stopped does so by its own work.
        if device.state != "frozen":
            raise refusal(device.state, "stopped")
        return
    if kind == "freeze" and device.state == "stopped":
        return
    check_transition(device.state, BUSY[kind])
    if kind in ("snapshot", "restore") and device.volume_name is None:
        raise Conflict("The device has no data yet")
    if kind == "start":
        await _check_start(session, device, force)


async def _check_start(session: AsyncSession, device: DeviceRow, force: bool) -> None:
    if device.state == "error" and not force:
        raise refusal("error", "starting", "unless it is forced")
    if device.owner_id is None:
        raise Conflict("Nobody holds the device: it can be cleaned or deleted, but not started")
    arrears = await session.get(ArrearsRow, device.owner_id)
    if arrears is not None and arrears.owes:
        raise Conflict("The device's owner is in arrears")


def _request(device: DeviceRow, kind: OperationKind) -> dict[str, Any]:
    """What the device had when the work was asked for: its row will say something else before the work has ended."""
    return {
        "running": kind == "reset" and device.state == "running",
        "generation": device.generation,
        "volume": device.volume_name,
        "container": device.container_id,
    }


async def _cancel_others(
    session: AsyncSession, device: DeviceRow, *, also: frozenset[OperationKind]
) -> list[Announcement]:
    """Whatever was under way for a state that the device now leaves; `also` what was to be done on its phone."""
    if device.state not in DEADLINES and not also:
        return []
    unfinished = (
        sa.select(OperationRow)
        .where(OperationRow.device_id == device.id, OperationRow.state.in_(("queued", "running")))
        .where(OperationRow.kind.in_(BUSY.keys() | also))
        .order_by(OperationRow.id)
        .with_for_update()
    )
    rows = (await session.scalars(unfinished)).all()
    return [one for row in rows for one in ask_to_cancel(row, device.owner_id)]


def _at_once(
    session: AsyncSession,
    device: DeviceRow,
    kind: OperationKind,
    by: str,
    batch_id: UUID | None,
    told: list[Announcement],
) -> Accepted:
    row, news = done_at_once(session, device, kind, by=by, batch_id=batch_id)
    return row, news + told


async def _lock_all(session: AsyncSession, device_ids: Sequence[UUID]) -> dict[UUID, DeviceRow]:
    """With their runs and their owners' arrears, each kind in one statement."""
    wanted = sa.select(DeviceRow).where(DeviceRow.id.in_(device_ids)).order_by(DeviceRow.id).with_for_update()
    devices = {row.id: row for row in await session.scalars(wanted)}
    runs = [row.run_id for row in devices.values() if row.run_id]
    if runs:
        (await session.scalars(sa.select(DeviceRunRow).where(DeviceRunRow.run_id.in_(runs)))).all()
    owners = {row.owner_id for row in devices.values() if row.owner_id}
    (await session.scalars(sa.select(ArrearsRow).where(ArrearsRow.user_id.in_(owners)))).all()
    return devices


async def versions_after(session: AsyncSession, device_id: UUID, announced: Versions) -> Versions:
    """Of what an answer that shows an operation depends on."""
    return {**await versions_of(session, entities.operations(device_id)), **announced}


_REASONS: Mapping[OperationKind, str] = {
    "start": "start asked for",
    "stop": "stop asked for",
    "reboot": "reboot asked for",
    "reset": "reset asked for",
    "clean": "unassigned",
    "delete": "deleted",
    "freeze": "arrears",
    "unfreeze": "arrears ended",
    "snapshot": "snapshot asked for",
    "restore": "restore asked for",
}

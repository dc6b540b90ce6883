"""Asking for work, and for its end, in the caller's transaction; the device's row is locked before its operations."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.events.device import OperationChanged, OperationRequested
from cloudphone_shared.ids import uuid7

from ..models import DeviceRow, OperationRow

PATIENCE = 3600.0
"""Seconds that work without a deadline of its own is tried for."""


def request_operation(
    session: AsyncSession,
    device: DeviceRow,
    kind: OperationKind,
    *,
    by: str,
    request: dict[str, Any] | None = None,
    batch_id: UUID | None = None,
    patience: float = PATIENCE,
    operation_id: UUID | None = None,
) -> tuple[OperationRow, list[Announcement]]:
    """Work to be done later. It is tried until the device's state ends its time, else for `patience` seconds.

    `operation_id` where it follows from what is asked for; `request` is what its work needs to know, as JSON. The
    caller announces what is returned.
    """
    now = datetime.now(UTC)
    row = _row(device, kind, by, request, batch_id, now)
    row.id = operation_id or row.id
    row.deadline_at = device.state_deadline_at or now + timedelta(seconds=patience)
    session.add(row)
    event = OperationRequested(operation_id=row.id, device_id=device.id, tenant_id=device.tenant_id, kind=kind)
    return row, [Announcement(event=event, entities=[entities.operations(device.id)])]


def done_at_once(
    session: AsyncSession,
    device: DeviceRow,
    kind: OperationKind,
    *,
    by: str,
    batch_id: UUID | None = None,
    result: dict[str, Any] | None = None,
) -> tuple[OperationRow, list[Announcement]]:
    """The record of work that needed no worker."""
    now = datetime.now(UTC)
    row = _row(device, kind, by, None, batch_id, now)
    row.state, row.progress, row.step, row.result = "succeeded", 100, "done", result
    row.deadline_at = row.finished_at = now
    session.add(row)
    return row, [changed(row, device.owner_id)]


def ask_to_cancel(row: OperationRow, owner_id: UUID | None) -> list[Announcement]:
    """Its worker ends it at its next step. One that waits is taken up soon, to be ended."""
    if row.cancel_requested or row.state not in ("queued", "running"):
        return []
    row.cancel_requested, row.not_before = True, None
    row.updated_at = datetime.now(UTC)
    event = OperationRequested(operation_id=row.id, device_id=row.device_id, tenant_id=row.tenant_id, kind=row.kind)
    return [changed(row, owner_id), Announcement(event=event, entities=[entities.operations(row.device_id)])]


def changed(row: OperationRow, owner_id: UUID | None) -> Announcement:
    event = OperationChanged(
        operation_id=row.id,
        device_id=row.device_id,
        tenant_id=row.tenant_id,
        user_id=owner_id,
        kind=row.kind,
        state=row.state,
        progress=row.progress,
    )
    return Announcement(event=event, entities=[entities.operations(row.device_id)])


def _row(
    device: DeviceRow,
    kind: OperationKind,
    by: str,
    request: dict[str, Any] | None,
    batch_id: UUID | None,
    now: datetime,
) -> OperationRow:
    return OperationRow(
        id=uuid7(),
        kind=kind,
        device_id=device.id,
        tenant_id=device.tenant_id,
        owner_id=device.owner_id,
        state="queued",
        progress=0,
        step="waiting for a worker",
        request=request or {},
        batch_id=batch_id,
        requested_by=by,
        attempt=0,
        cancel_requested=False,
        created_at=now,
        updated_at=now,
    )

"""Copies of stopped volumes: asked for, restored, thrown away, in the caller's transaction; and what can be read of
them."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.phone import Snapshot
from cloudphone_shared.database import versions_of
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.errors import Conflict, NotFound
from cloudphone_shared.ids import uuid7

from ..models import DeviceRow, OperationRow, SnapshotRow
from ..moves import lock_device
from ..operations.requesting import request_operation
from .commands import PERMISSIONS, Versions, accept

MOST_OF_A_DEVICE = 20


async def take_snapshot(
    session: AsyncSession, caller: Caller, device_id: UUID, name: str, expected: int | None = None
) -> tuple[OperationRow, Versions]:
    """The operation's result names the snapshot from the beginning. Raises NotFound, StateConflict, and Conflict for
    a device without data, or with as many snapshots as one may have."""
    caller.require(PERMISSIONS["snapshot"])
    device = await lock_device(session, caller, device_id, expected)
    present = sa.select(sa.func.count()).where(SnapshotRow.device_id == device_id, SnapshotRow.deleted_at.is_(None))
    if (await session.execute(present)).scalar_one() >= MOST_OF_A_DEVICE:
        raise Conflict(f"A device has {MOST_OF_A_DEVICE} snapshots at most")
    row, told = await accept(session, device, "snapshot", by=caller.id)
    snapshot_id = uuid7()
    snapshot = SnapshotRow(
        id=snapshot_id,
        device_id=device.id,
        tenant_id=device.tenant_id,
        name=name,
        state="creating",
        volume_name=f"snapshot-{snapshot_id}",
        generation=device.generation,
        created_at=row.created_at,
    )
    session.add(snapshot)
    _names(row, snapshot)
    row.result = {"snapshotId": str(snapshot_id)}
    return row, await announce_all(session, [*told, _touched(told, device_id)])


async def restore_snapshot(
    session: AsyncSession, caller: Caller, device_id: UUID, snapshot_id: UUID, expected: int | None = None
) -> tuple[OperationRow, Versions]:
    """Raises NotFound, StateConflict, and Conflict unless the snapshot is the device's own and ready."""
    caller.require(PERMISSIONS["restore"])
    device = await lock_device(session, caller, device_id, expected)
    snapshot = await session.get(SnapshotRow, snapshot_id, with_for_update=True)
    if snapshot is None or snapshot.deleted_at is not None or snapshot.device_id != device_id:
        raise Conflict("The device has no such snapshot")
    if snapshot.state != "ready":
        raise Conflict(f"The snapshot is {snapshot.state}")
    row, told = await accept(session, device, "restore", by=caller.id)
    snapshot.state = "restoring"
    _names(row, snapshot)
    return row, await announce_all(session, [*told, _touched(told, device_id)])


async def delete_snapshot(session: AsyncSession, caller: Caller, snapshot_id: UUID) -> tuple[OperationRow, Versions]:
    """Raises NotFound, and Conflict while it is made or restored."""
    caller.require(PERMISSIONS["delete_snapshot"])
    found = await _seen(session, caller, snapshot_id)
    device = await session.get_one(DeviceRow, found.device_id, with_for_update=True, populate_existing=True)
    snapshot = await session.get_one(SnapshotRow, snapshot_id, with_for_update=True, populate_existing=True)
    if snapshot.state not in ("ready", "failed") or snapshot.deleted_at is not None:
        raise Conflict(f"The snapshot is {'gone' if snapshot.deleted_at else snapshot.state}")
    snapshot.state = "deleting"
    row, told = request_operation(session, device, "delete_snapshot", by=caller.id)
    _names(row, snapshot)
    return row, await announce_all(session, [*told, _touched(told, device.id)])


async def snapshots_of(session: AsyncSession, caller: Caller, device_id: UUID) -> Answer[list[Snapshot]]:
    """Latest first. Raises NotFound."""
    device = await session.get(DeviceRow, device_id)
    if device is None or device.deleted_at is not None or not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound(entities=await versions_of(session, entities.device(device_id)))
    versions = await versions_of(session, entities.device(device_id), entities.snapshots(device_id))
    wanted = (
        sa.select(SnapshotRow)
        .where(SnapshotRow.device_id == device_id, SnapshotRow.deleted_at.is_(None))
        .order_by(SnapshotRow.created_at.desc(), SnapshotRow.id.desc())
    )
    found = list(await session.scalars(wanted))
    return Answer(data=msgspec.convert(found, list[Snapshot], from_attributes=True), entities=versions)


async def snapshot(session: AsyncSession, caller: Caller, snapshot_id: UUID) -> Answer[Snapshot]:
    """Raises NotFound."""
    row = await _seen(session, caller, snapshot_id)
    versions = await versions_of(session, entities.snapshots(row.device_id))
    return Answer(data=msgspec.convert(row, Snapshot, from_attributes=True), entities=versions)


async def _seen(session: AsyncSession, caller: Caller, snapshot_id: UUID) -> SnapshotRow:
    row = await session.get(SnapshotRow, snapshot_id)
    device = await session.get(DeviceRow, row.device_id) if row is not None and row.deleted_at is None else None
    if row is None or device is None or not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound
    return row


def _names(row: OperationRow, snapshot: SnapshotRow) -> None:
    more: dict[str, Any] = {
        "snapshotId": str(snapshot.id), "snapshotVolume": snapshot.volume_name, "sha256": snapshot.sha256
    }  # fmt: skip
    row.request = {**row.request, **more}


def _touched(told: list[Announcement], device_id: UUID) -> Announcement:
    """The last of what is told touches the device's snapshots, too."""
    last = told.pop()
    return Announcement(event=last.event, entities=[*last.entities, entities.snapshots(device_id)])

"""What becomes of snapshots when the works on them end."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.events.device import SnapshotDeleted, SnapshotFailed, SnapshotReady
from cloudphone_shared.events.envelope import Event

from ..models import DeviceRow, SnapshotRow
from ..operations.job import Outcome

DAMAGED = "snapshot-damaged"


async def settle_snapshot(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    """What the end of a work makes of its snapshot."""
    request = outcome.operation.request
    snapshot = await session.get(SnapshotRow, UUID(request["snapshotId"]), with_for_update=True)
    if snapshot is None or snapshot.deleted_at is not None:
        return []
    match outcome.operation.kind, outcome.state:
        case "snapshot", "succeeded":
            snapshot.state = "ready"
            snapshot.size, snapshot.sha256 = outcome.result["size"], outcome.result["sha256"]
        case "snapshot" | "delete_snapshot", "failed" | "cancelled":
            snapshot.state, snapshot.failure = "failed", outcome.detail
        case "delete_snapshot", _:
            snapshot.deleted_at = datetime.now(UTC)
            return [_told(device, SnapshotDeleted(**_facts(device, snapshot)))]
        case _, "failed" if outcome.code == DAMAGED:
            snapshot.state, snapshot.failure = "failed", outcome.detail
        case _:
            # A restore leaves the snapshot as it was.
            snapshot.state = "ready"
    if snapshot.state == "failed":
        return [_told(device, SnapshotFailed(**_facts(device, snapshot), reason=snapshot.failure or ""))]
    ready = SnapshotReady(**_facts(device, snapshot), size=snapshot.size or 0, sha256=snapshot.sha256 or "")
    return [_told(device, ready)]


async def forget_snapshots(session: AsyncSession, device: DeviceRow) -> list[Announcement]:
    """Of a device that was cleaned: their volumes are gone."""
    present = sa.select(SnapshotRow).where(SnapshotRow.device_id == device.id, SnapshotRow.deleted_at.is_(None))
    gone = (await session.scalars(present.order_by(SnapshotRow.id).with_for_update())).all()
    for row in gone:
        row.deleted_at = datetime.now(UTC)
    return [_told(device, SnapshotDeleted(**_facts(device, row))) for row in gone]


def _told(device: DeviceRow, event: Event) -> Announcement:
    return Announcement(event=event, entities=[entities.snapshots(device.id)])


def _facts(device: DeviceRow, row: SnapshotRow) -> dict[str, Any]:
    return {
        "snapshot_id": row.id,
        "device_id": device.id,
        "tenant_id": device.tenant_id,
        "user_id": device.owner_id,
    }

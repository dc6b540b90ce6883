"""How a device's state changes: checked, logged and announced in one place, its runs with it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.events.device import DeviceStarted, DeviceStatusChanged, DeviceStopped, DeviceUpdated
from cloudphone_shared.events.envelope import Event
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import DeviceRow, DeviceRunRow, StateLogRow
from .states import check_transition

ClosedBy = Literal["event", "heartbeat", "reconcile"]

DEADLINES: Mapping[DeviceState, float] = {
    "creating": 60.0,
    "starting": 180.0,
    "stopping": 60.0,
    "rebooting": 180.0,
    "resetting": 300.0,
    "backing_up": 1800.0,
    "restoring": 1800.0,
    "cleaning": 600.0,
    "deleting": 600.0,
}
"""Seconds that a device may be in a state that must end, from the beginning of the work that ends it."""

IN_LINE = 900.0
"""Seconds that work may wait for its beginning."""


async def move(
    session: AsyncSession,
    device: DeviceRow,
    to: DeviceState,
    reason: str,
    actor: str,
    *,
    closed_by: ClosedBy = "event",
) -> list[Announcement]:
    """The only writer of a device's state. Raises StateConflict.

    A run lasts as long as the device is running. One that `closed_by` event ends now, others when it was last seen.
    """
    before = device.state
    check_transition(before, to)
    device.state = to
    device.updated_at = datetime.now(UTC)
    device.state_deadline_at = deadline_of(to, waiting=IN_LINE)
    log_state(session, device, before, reason, actor)
    told = [_changed(device, before, reason)]
    if before == "running":
        told += await _close_run(session, device, reason, closed_by)
    if to == "running":
        told.append(await _open_run(session, device))
    return told


def deadline_of(state: DeviceState, *, waiting: float = 0.0) -> datetime | None:
    """None for a state that may last."""
    if state not in DEADLINES:
        return None
    return datetime.now(UTC) + timedelta(seconds=DEADLINES[state] + waiting)


def about(device: DeviceRow, event: Event, *more: str, held_by: UUID | None = None) -> Announcement:
    return Announcement(event=event, entities=[entities.device(device.id), *held(held_by), *more])


def held(user_id: UUID | None) -> list[str]:
    return [] if user_id is None else [entities.devices_of(user_id)]


def updated(device: DeviceRow, changed: list[str], *, previous: UUID | None = None) -> DeviceUpdated:
    return DeviceUpdated(
        device_id=device.id,
        tenant_id=device.tenant_id,
        name=device.name,
        user_id=device.owner_id,
        previous_user_id=previous,
        changed=changed,
    )


def forget_owner(device: DeviceRow) -> list[Announcement]:
    """What is to be told of it."""
    owner_id = device.owner_id
    device.owner_id = device.owner_name = device.owner_email = device.allocation_id = None
    if owner_id is None:
        return []
    return [about(device, updated(device, ["ownerId"], previous=owner_id), held_by=owner_id)]


def log_state(session: AsyncSession, device: DeviceRow, before: DeviceState | None, reason: str, actor: str) -> None:
    session.add(
        StateLogRow(
            device_id=device.id,
            from_state=before,
            to_state=device.state,
            reason=reason,
            actor=actor,
            at=datetime.now(UTC),
        )
    )


async def lock_device(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None = None) -> DeviceRow:
    """Raises NotFound, also for a device that the caller may not see, and PreconditionFailed."""
    row = await session.get(DeviceRow, device_id, with_for_update=True, populate_existing=True)
    entity = entities.device(device_id)
    present = await versions_of(session, entity)
    if row is None or row.deleted_at is not None or not caller.sees(row.tenant_id, row.owner_id):
        raise NotFound(entities=present)
    check_version(expected, present[entity])
    return row


def _changed(device: DeviceRow, before: DeviceState, reason: str) -> Announcement:
    event = DeviceStatusChanged(
        device_id=device.id,
        tenant_id=device.tenant_id,
        user_id=device.owner_id,
        old_status=before,
        new_status=device.state,
        reason=reason,
    )
    return about(device, event)


async def _open_run(session: AsyncSession, device: DeviceRow) -> Announcement:
    run = DeviceRunRow(run_id=uuid7(), device_id=device.id, user_id=device.owner_id)
    run.started_at = await _moment(session, device.id)
    run.last_seen_at = device.last_seen_at = run.started_at
    device.run_id = run.run_id
    session.add(run)
    event = DeviceStarted(
        device_id=device.id,
        tenant_id=device.tenant_id,
        user_id=device.owner_id,
        run_id=run.run_id,
        started_at=run.started_at,
    )
    return about(device, event)


async def _close_run(session: AsyncSession, device: DeviceRow, reason: str, closed_by: ClosedBy) -> list[Announcement]:
    run = await session.get(DeviceRunRow, device.run_id) if device.run_id else None
    device.run_id = None
    if run is None or run.stopped_at is not None:
        return []
    end = await _moment(session, device.id) if closed_by == "event" else run.last_seen_at
    run.stopped_at = stopped_at = max(run.started_at, end)
    run.last_seen_at = max(run.last_seen_at, stopped_at)
    run.stop_reason, run.closed_by = reason, closed_by
    event = DeviceStopped(
        device_id=device.id,
        tenant_id=device.tenant_id,
        user_id=run.user_id,
        run_id=run.run_id,
        started_at=run.started_at,
        stopped_at=stopped_at,
        reason=reason,
        closed_by=closed_by,
    )
    return [about(device, event)]


async def _moment(session: AsyncSession, device_id: UUID) -> datetime:
    """Now, by the clock that all processes share; never before the device's last run ended."""
    last = sa.select(sa.func.max(DeviceRunRow.stopped_at)).where(DeviceRunRow.device_id == device_id)
    now = sa.func.greatest(sa.func.clock_timestamp(), last.scalar_subquery(), type_=sa.DateTime(timezone=True))
    return (await session.execute(sa.select(now))).scalar_one()

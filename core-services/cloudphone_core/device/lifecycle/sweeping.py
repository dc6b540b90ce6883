"""What happens by the clock: work whose time is over is ended, and what the platform wants of a device is done."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import announce_all

from ..models import DeviceRow, OperationRow
from ..moves import DEADLINES
from ..operations.claims import end_overdue
from ..operations.job import Settlements
from .converging import converge
from .settling import BUSY, fail

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_AT_ONCE = 200
_NOW = sa.func.clock_timestamp()


async def sweep(database: Database, settlements: Settlements) -> int:
    """One round; each thing in a transaction of its own. Returns how many there were."""
    done = 0
    for wanted, treat in (
        (_overdue_operations(), _end_operation(settlements)),
        (_overdue_devices(), _end_state),
        (_due_devices(), _recover),
    ):
        async with database.reading() as session:
            ids = list(await session.scalars(wanted.limit(_AT_ONCE)))
        for one in ids:
            async with database.writing() as session:
                done += await treat(session, one)
    return done


def _overdue_operations() -> sa.Select[UUID]:
    unfinished = OperationRow.state.in_(("queued", "running"))
    return sa.select(OperationRow.id).where(unfinished, OperationRow.deadline_at < _NOW).order_by(OperationRow.id)


def _overdue_devices() -> sa.Select[UUID]:
    late = sa.and_(DeviceRow.state_deadline_at < _NOW, DeviceRow.state.in_(DEADLINES))
    return sa.select(DeviceRow.id).where(late).order_by(DeviceRow.id)


def _due_devices() -> sa.Select[UUID]:
    return sa.select(DeviceRow.id).where(DeviceRow.recover_at < _NOW).order_by(DeviceRow.id)


def _end_operation(settlements: Settlements) -> Callable[[AsyncSession, UUID], Awaitable[int]]:
    async def end(session: AsyncSession, operation_id: UUID) -> int:
        row = await session.get_one(OperationRow, operation_id)
        device = await session.get_one(DeviceRow, row.device_id, with_for_update=True, populate_existing=True)
        await session.refresh(row, with_for_update=True)
        overdue = (await session.execute(sa.select(row.deadline_at < _NOW))).scalar_one()
        if row.finished_at is not None or not overdue:
            return 0
        await end_overdue(session, device, row, settlements.get(row.kind))
        log.warning("operation_overdue", operation_id=str(row.id), kind=row.kind, step=row.step)
        return 1

    return end


async def _end_state(session: AsyncSession, device_id: UUID) -> int:
    """Of a device that nobody works on: its operation has ended without it."""
    device = await _locked(session, device_id)
    if device.state not in DEADLINES or device.state_deadline_at is None:
        return 0
    if not (await session.execute(sa.select(device.state_deadline_at < _NOW))).scalar_one():
        return 0
    unfinished = sa.exists().where(
        OperationRow.device_id == device_id,
        OperationRow.kind.in_(BUSY),
        OperationRow.state.in_(("queued", "running")),
        OperationRow.deadline_at > _NOW,
    )
    if (await session.execute(sa.select(unfinished))).scalar_one():
        return 0
    state = device.state
    await announce_all(session, await fail(session, device, f"It was {state} for too long", "deadline"))
    log.warning("device_overdue", device_id=str(device_id), state=state)
    return 1


async def _recover(session: AsyncSession, device_id: UUID) -> int:
    device = await _locked(session, device_id)
    if device.recover_at is None:
        return 0
    device.recover_at = None
    device.recoveries += 1
    told = await converge(session, device)
    await announce_all(session, told)
    return bool(told)


async def _locked(session: AsyncSession, device_id: UUID) -> DeviceRow:
    return await session.get_one(DeviceRow, device_id, with_for_update=True, populate_existing=True)

"""Usage: keyed by the run, whatever order its facts arrive in. Each function works in the caller's transaction."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import UsageRecordCreate
from cloudphone_shared.database.outbox import announce
from cloudphone_shared.errors import Conflict, Invalid
from cloudphone_shared.events.billing import UsageRecorded
from cloudphone_shared.ids import uuid7

from .models import UsageAdjustmentRow, UsageRow

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
CLOCKS_APART = timedelta(minutes=5)
_EXCLUSION_VIOLATION = "23P01"


def check_interval(started_at: datetime, stopped_at: datetime | None, now: datetime) -> None:
    """Raises Invalid for an interval that runs backwards, begins before there were phones, or ends in the future."""
    if not EARLIEST <= started_at <= now + CLOCKS_APART:
        raise Invalid("startedAt must lie between 2020 and now", errors=[])
    if stopped_at is not None and not started_at <= stopped_at <= now + CLOCKS_APART:
        raise Invalid("stoppedAt must lie between startedAt and now")


async def record_usage(
    session: AsyncSession, tenant_id: UUID, record: UsageRecordCreate, at: datetime
) -> dict[str, int]:
    """What changed, with versions; nothing when the run was known so.

    Raises Conflict when the interval overlaps another run of the device, or when the run is known otherwise.
    """
    await one_device_at_a_time(session, record.device_id)
    run = (await session.execute(select(UsageRow).where(UsageRow.run_id == record.run_id))).scalar_one_or_none()
    if run is None:
        return await _begin(session, tenant_id, record)
    if (run.device_id, run.user_id, run.started_at) != (record.device_id, record.user_id, record.started_at):
        raise Conflict("The run is recorded with another device, user or start")
    # A start heard after its stop tells nothing new.
    if record.stopped_at is None or record.stopped_at == run.stopped_at:
        return {}
    if run.stopped_at is not None:
        _adjust(session, run, record.stopped_at, record, at)
    run.stopped_at, run.closed_by = record.stopped_at, record.closed_by
    run.told_stopped_at, run.told_by = record.stopped_at, record.closed_by
    return await _announce(session, run, record.user_id)


async def _begin(session: AsyncSession, tenant_id: UUID, record: UsageRecordCreate) -> dict[str, int]:
    known = exists().where(UsageRow.user_id == record.user_id, UsageRow.device_id == record.device_id)
    first = not await session.scalar(select(known))
    run = UsageRow(
        id=uuid7(),
        run_id=record.run_id,
        tenant_id=tenant_id,
        device_id=record.device_id,
        user_id=record.user_id,
        started_at=record.started_at,
        stopped_at=record.stopped_at,
        closed_by=record.closed_by if record.stopped_at else None,
        told_stopped_at=record.stopped_at,
        told_by=record.closed_by if record.stopped_at else None,
    )
    session.add(run)
    return await _announce(session, run, record.user_id, *([entities.usage_of(record.user_id)] if first else []))


def _adjust(
    session: AsyncSession, run: UsageRow, stopped_at: datetime, record: UsageRecordCreate, at: datetime
) -> None:
    if run.stopped_at is None or run.closed_by is None:
        return
    if run.closed_by == "event" or record.closed_by != "event":
        raise Conflict("The run has ended at another time")
    session.add(
        UsageAdjustmentRow(
            run_id=run.run_id,
            stopped_at_before=run.stopped_at,
            closed_by_before=run.closed_by,
            stopped_at=stopped_at,
            at=at,
        )
    )


async def _announce(session: AsyncSession, run: UsageRow, user_id: UUID, *more: str) -> dict[str, int]:
    try:
        await session.flush()
    except IntegrityError as error:
        raise _refusal(error) from error
    event = UsageRecorded(
        run_id=run.run_id,
        device_id=run.device_id,
        user_id=user_id,
        started_at=run.started_at,
        stopped_at=run.stopped_at,
        tenant_id=run.tenant_id,
    )
    return await announce(session, event, entities.usage(run.device_id), *more)


def _refusal(error: IntegrityError) -> Exception:
    if getattr(error.orig, "sqlstate", None) == _EXCLUSION_VIOLATION:
        return Conflict("The interval overlaps another run of the device")
    return Conflict("The run is recorded with another device")


async def one_device_at_a_time(session: AsyncSession, device_id: UUID) -> None:
    # Ends told at once would overwrite each other, and intervals inserted at once could each wait for the other.
    lock = func.hashtextextended(entities.usage(device_id), 0)
    await session.execute(select(func.pg_advisory_xact_lock(lock)))


async def tenant_of_run(session: AsyncSession, caller: Caller, run_id: UUID) -> UUID | None:
    """None for a run that is not known. Raises Conflict for one that is known and not the caller's to change."""
    run = (await session.execute(select(UsageRow).where(UsageRow.run_id == run_id))).scalar_one_or_none()
    if run is None:
        return None
    if not caller.sees(run.tenant_id, run.user_id):
        raise Conflict("The run is recorded with another device, user or start")
    return run.tenant_id

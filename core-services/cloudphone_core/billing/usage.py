"""What billing answers about running time. Each function wants a session of `reading()`, or the writing one that holds
the device's lock."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, ColumnElement, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import UsageDay, UsageRecord
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound

from .models import UsageRow
from .periods import Interval, last_days, seconds_by_day


async def usage_days(session: AsyncSession, user_id: UUID, now: datetime, days: int) -> Answer[list[UsageDay]]:
    window = last_days(now, days)
    mine = UsageRow.user_id == user_id
    closed = select(UsageRow.started_at, UsageRow.stopped_at).where(
        mine, UsageRow.stopped_at > window.start, UsageRow.started_at < window.end
    )
    runs = [Interval(started_at, stopped_at) for started_at, stopped_at in await session.execute(closed) if stopped_at]
    found = [UsageDay(day=day.isoformat(), seconds=seconds) for day, seconds in seconds_by_day(runs, window).items()]
    devices = (await session.scalars(select(UsageRow.device_id).where(mine).distinct())).all()
    return Answer(data=found, entities=await _shown(session, user_id, list(devices)))


async def usage_record(session: AsyncSession, caller: Caller, run_id: UUID) -> Answer[UsageRecord]:
    row = (await session.scalars(select(UsageRow).where(UsageRow.run_id == run_id))).one_or_none()
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound
    shown = await versions_of(session, entities.usage(row.device_id))
    return Answer(data=msgspec.convert(row, UsageRecord, from_attributes=True), entities=shown)


def usage_columns(month: Interval) -> list[ColumnElement[Any]]:
    """Of a set of runs: what `DeviceUsage` says of them; the month's ends may be parameters."""
    started, stopped = UsageRow.started_at, UsageRow.stopped_at
    touches = and_(started < month.end, or_(stopped.is_(None), stopped > month.start, started >= month.start))
    within = func.least(stopped, month.end) - func.greatest(started, month.start)
    seconds = func.sum(func.extract("epoch", within)).filter(touches, stopped.is_not(None))
    return [
        cast(func.floor(func.coalesce(seconds, 0)), BigInteger).label("seconds"),
        func.count().filter(touches).label("runs"),
        func.max(func.greatest(started, month.start)).filter(touches, stopped.is_(None)).label("open_since"),
        func.max(started).label("last_run_at"),
    ]


async def _shown(session: AsyncSession, user_id: UUID, device_ids: list[UUID]) -> dict[str, int]:
    # Devices without a run in the period count too: their next record changes the answer and no collection.
    return await versions_of(session, entities.usage_of(user_id), *map(entities.usage, device_ids))

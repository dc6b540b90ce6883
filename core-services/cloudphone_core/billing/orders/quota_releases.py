"""When a subscription ends its user may have something else: the user service is told after the commit, until it
answers."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, select

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError, Unavailable

from .models import QuotaReleaseRow

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BATCH = 50
LONGEST_WAIT = timedelta(minutes=10)


async def release_quotas(database: Database, core: CoreClients, now: datetime) -> int:
    """How many were released, at most `BATCH`. Asked twice, a release is the same release."""
    due = select(QuotaReleaseRow.reservation_id).where(QuotaReleaseRow.due_at <= now).order_by(QuotaReleaseRow.due_at)
    async with database.reading() as session:
        reservations = (await session.scalars(due.limit(BATCH))).all()
    released = 0
    for reservation_id in reservations:
        try:
            await core.user.release_quota(reservation_id)
        except (Unavailable, DomainError) as error:
            log.warning("quota_release_postponed", reservation_id=str(reservation_id), reason=str(error))
            await _postpone(database, reservation_id, str(error), now)
        else:
            async with database.writing() as session:
                await session.execute(delete(QuotaReleaseRow).where(QuotaReleaseRow.reservation_id == reservation_id))
            released += 1
    return released


async def _postpone(database: Database, reservation_id: UUID, failure: str, now: datetime) -> None:
    asked = select(QuotaReleaseRow).where(QuotaReleaseRow.reservation_id == reservation_id).with_for_update()
    async with database.writing() as session:
        if (row := (await session.scalars(asked)).one_or_none()) is not None:
            row.attempts, row.failure = row.attempts + 1, failure
            row.due_at = now + min(LONGEST_WAIT, timedelta(seconds=5 * 2 ** min(row.attempts, 10)))

"""Runs whose stop was not heard: the device service is asked what became of them."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.common import MOST_IDS
from cloudphone_shared.database import Database

from .models import UsageRow
from .runs import ask_answered

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """A run is asked about once it is `older_than`, and `again_after` each answer that did not end it.

    One that its device's owner calls open ends when it was last seen, once it was not for `silent_after`; for
    `reopens_within` after such an end it may be found to go on.
    """

    older_than: timedelta = timedelta(minutes=10)
    again_after: timedelta = timedelta(minutes=10)
    silent_after: timedelta = timedelta(minutes=30)
    reopens_within: timedelta = timedelta(days=1)


PATIENCE = Patience()


async def ask_about_open_runs(database: Database, core: CoreClients, now: datetime, patience: Patience) -> int:
    """How many were asked about: those that waited longest, as many as one call takes. Raises Unavailable."""
    async with database.reading() as session:
        asked = await _unsettled(session, now, patience)
    if not asked:
        return 0
    answers = await core.device.runs(asked)
    for run_id in asked:
        found = answers.found.get(str(run_id))
        async with database.writing() as session:
            await ask_answered(session, run_id, found and found.data, now, silent_after=patience.silent_after)
    log.info("open_runs_asked_about", runs=len(asked), unknown=len(asked) - len(answers.found))
    return len(asked)


async def _unsettled(session: AsyncSession, now: datetime, patience: Patience) -> list[UUID]:
    """Those cut short by their device's next run are among them: nobody told when they ended.

    What was recorded by hand is none of the device service's.
    """
    may_go_on = (UsageRow.told_by == "reconcile") & (UsageRow.told_stopped_at > now - patience.reopens_within)
    statement = (
        select(UsageRow.run_id)
        .where(
            or_(UsageRow.told_by.is_(None), may_go_on),
            UsageRow.seen_at.is_not(None),
            UsageRow.started_at <= now - patience.older_than,
            or_(UsageRow.asked_at.is_(None), UsageRow.asked_at <= now - patience.again_after),
        )
        .order_by(UsageRow.asked_at.nulls_first())
        .limit(MOST_IDS)
    )
    return list(await session.scalars(statement))

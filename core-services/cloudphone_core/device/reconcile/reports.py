"""Reports of comparisons: asked for, written, read. A row without an end is one that is waited for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.device import Provider
from cloudphone_shared.contracts.phone import ReconcileFinding, ReconcileReport
from cloudphone_shared.database import Cursors, Sorts, page
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery
from cloudphone_shared.ids import uuid7

from ..models import ReconcileReportRow

KEPT_DAYS = 14
MOST_FINDINGS = 1_000
_SORTS = Sorts({"startedAt": ReconcileReportRow.started_at}, tiebreak=ReconcileReportRow.id, default="-startedAt")


class Found(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a comparison found; of the findings at most MOST_FINDINGS."""

    rows: int = 0
    containers: int = 0
    foreign: int = 0
    findings: Sequence[ReconcileFinding] = ()
    failure: str | None = None
    figures: dict[str, Any] = {}


async def ask_for(session: AsyncSession, provider: Provider) -> ReconcileReport:
    """The report that is waited for already, or a new one."""
    waiting = sa.select(ReconcileReportRow).where(
        ReconcileReportRow.provider == provider, ReconcileReportRow.finished_at.is_(None)
    )
    row = (await session.scalars(waiting.order_by(ReconcileReportRow.started_at).limit(1))).first()
    return report(row or await begin(session, provider))


async def begin(session: AsyncSession, provider: Provider) -> ReconcileReportRow:
    row = ReconcileReportRow(
        id=uuid7(), provider=provider, started_at=datetime.now(UTC), finished_at=None, body=_body(Found())
    )
    session.add(row)
    await session.flush()
    return row


async def finish(session: AsyncSession, report_id: UUID, started_at: datetime, found: Found) -> None:
    """Old ones go with it."""
    row = await session.get_one(ReconcileReportRow, report_id)
    now = datetime.now(UTC)
    row.started_at, row.finished_at, row.body = started_at, now, _body(found)
    long_ago = now - timedelta(days=KEPT_DAYS)
    await session.execute(sa.delete(ReconcileReportRow).where(ReconcileReportRow.finished_at < long_ago))


async def reports(session: AsyncSession, asked: ListQuery, cursors: Cursors) -> Answer[Page[ReconcileReport]]:
    """Latest first, unless asked otherwise. Raises Invalid for an unknown sort, InvalidCursor."""
    found = await page(
        session,
        sa.select(ReconcileReportRow),
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope="reconcile reports",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return Answer(data=Page(items=[report(row) for row in found.items], next_cursor=found.next_cursor), entities={})


async def one_report(session: AsyncSession, report_id: UUID) -> Answer[ReconcileReport]:
    """Raises NotFound."""
    row = await session.get(ReconcileReportRow, report_id)
    if row is None:
        raise NotFound
    return Answer(data=report(row), entities={})


def report(row: ReconcileReportRow) -> ReconcileReport:
    found = msgspec.convert(row.body, Found, strict=False)
    return ReconcileReport(
        id=row.id,
        provider=row.provider,
        started_at=row.started_at,
        finished_at=row.finished_at,
        rows=found.rows,
        containers=found.containers,
        foreign=found.foreign,
        findings=list(found.findings),
        failure=found.failure,
        figures=found.figures,
    )


def _body(found: Found) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.to_builtins(found))

"""Figures for charts and tables: what was earned, what was used. Each is one statement on an index."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.report import (
    RevenueOfPlan,
    RevenuePoint,
    RevenueReport,
    UsagePoint,
    UsageReport,
)
from cloudphone_shared.errors import Forbidden, Invalid

from .rate import rounded

By = Literal["day", "month"]
DAYS_BY_DEFAULT = 30
MOST_POINTS = 400

# Per transfer: what of it is revenue and what tax. A sale by hand, or a dispute, is neither.
_REVENUE = """
    WITH places AS MATERIALIZED (
        SELECT id, kind FROM billing.accounts
        WHERE kind IN ('revenue', 'tax') AND currency = :currency
            AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = CAST(:tenant AS uuid))
    ),
    earned AS (
        SELECT date_trunc(:by, t.settled_at, 'UTC') AS period, t.kind, p.kind AS place, sum(m.amount)::bigint AS amount
        FROM billing.transfers AS t
        CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS m (account_id, amount)
        JOIN places AS p ON p.id = m.account_id
        WHERE t.state = 'posted' AND t.settled_at >= :since AND t.settled_at < :until
            AND (CAST(:tenant AS uuid) IS NULL OR t.tenant_id = CAST(:tenant AS uuid))
        GROUP BY 1, 2, 3
    )
    SELECT period,
        coalesce(sum(amount) FILTER (WHERE place = 'revenue'), 0)::bigint AS net,
        coalesce(sum(amount) FILTER (WHERE place = 'tax'), 0)::bigint AS tax,
        coalesce(sum(amount) FILTER (WHERE kind IN ('purchase', 'plan-change')), 0)::bigint AS purchases,
        coalesce(sum(amount) FILTER (WHERE kind = 'renewal'), 0)::bigint AS renewals,
        coalesce(sum(amount) FILTER (WHERE kind = 'invoice'), 0)::bigint AS usage,
        coalesce(-sum(amount) FILTER (WHERE kind IN ('refund', 'credit-note')), 0)::bigint AS refunds
    FROM earned GROUP BY period ORDER BY period
"""

_BY_PLAN = """
    SELECT o.plan_id, p.name, count(*) AS orders, sum(o.amount - o.refunded)::bigint AS amount
    FROM billing.orders AS o JOIN billing.plans AS p ON p.id = o.plan_id
    WHERE o.created_at >= :since AND o.created_at < :until AND o.currency = :currency
        AND o.state IN ('paid', 'completed', 'refunding', 'refunded')
        AND (CAST(:tenant AS uuid) IS NULL OR o.tenant_id = CAST(:tenant AS uuid))
    GROUP BY o.plan_id, p.name ORDER BY amount DESC, p.name, o.plan_id LIMIT 100
"""

_CURRENCIES = """
    SELECT DISTINCT currency FROM billing.accounts
    WHERE kind = 'revenue' AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = CAST(:tenant AS uuid)) ORDER BY currency
"""

# A charge lies within one day; what takes one back has its seconds and its worth negated.
_USAGE = """
    SELECT date_trunc(:by, started_at, 'UTC') AS period, coalesce(sum(seconds), 0)::bigint AS seconds,
        count(DISTINCT run_id) AS runs, count(DISTINCT device_id) AS devices, count(DISTINCT user_id) AS users,
        coalesce(sum(worth) FILTER (WHERE currency = :currency), 0) AS worth
    FROM billing.charges
    WHERE started_at >= :since AND started_at < :until
        AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = CAST(:tenant AS uuid))
    GROUP BY GROUPING SETS ((1), ()) ORDER BY 1
"""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """`since` until before `until`, UTC dates; `tenant_id` None: all tenants."""

    since: date
    until: date
    by: By
    currency: str | None
    tenant_id: UUID | None

    def parameters(self, currency: str) -> dict[str, object]:
        start, end = (datetime(*day.timetuple()[:3], tzinfo=UTC) for day in (self.since, self.until))
        return {"by": self.by, "since": start, "until": end, "currency": currency, "tenant": self.tenant_id}


def asked_of(
    caller: Caller, *, since: date | None, until: date | None, by: By, currency: str | None, tenant_id: UUID | None,
    now: datetime,
) -> Asked:  # fmt: skip
    """By default the last 30 days. Raises Forbidden for a tenant that is not the caller's, Invalid for a period that
    runs backwards or is too long."""
    if caller.data_scope != "all":
        own = UUID(caller.tenant_id)
        if caller.data_scope == "self" or tenant_id not in (None, own):
            raise Forbidden("A report is of the caller's own tenant")
        tenant_id = own
    until = until or now.astimezone(UTC).date() + timedelta(days=1)
    since = since or until - timedelta(days=DAYS_BY_DEFAULT)
    days = (until - since).days
    if not 0 < days <= (MOST_POINTS if by == "day" else MOST_POINTS * 30):
        raise Invalid(f"since must lie before until, at most {MOST_POINTS} {by}s")
    return Asked(since=since, until=until, by=by, currency=currency, tenant_id=tenant_id)


async def revenue(session: AsyncSession, asked: Asked) -> RevenueReport:
    """Of transfers that were posted in the period; the plans' part is of orders made in it."""
    known = list(await session.scalars(text(_CURRENCIES), {"tenant": asked.tenant_id}))
    currency = asked.currency or (known[0] if known else "USD")
    parameters = asked.parameters(currency)
    found = {row.period.date(): row for row in await session.execute(text(_REVENUE), parameters)}
    points = [_revenue_point(day, found.get(day)) for day in periods(asked)]
    del parameters["by"]
    plans = await session.execute(text(_BY_PLAN), parameters)
    return RevenueReport(
        currency=currency,
        since=asked.since,
        until=asked.until,
        points=points,
        by_plan=[
            RevenueOfPlan(plan_id=row.plan_id, plan_name=row.name, orders=row.orders, amount=row.amount)
            for row in plans
        ],
        net=sum(point.net for point in points),
        tax=sum(point.tax for point in points),
        refunds=sum(point.refunds for point in points),
        currencies=known,
    )


async def usage(session: AsyncSession, asked: Asked) -> UsageReport:
    """Of runs that have ended and were rated; `runs` of the whole report counts each once."""
    currency = asked.currency or "USD"
    found = {
        row.period and row.period.date(): row for row in await session.execute(text(_USAGE), asked.parameters(currency))
    }
    points = [_usage_point(day, found.get(day)) for day in periods(asked)]
    return UsageReport(
        currency=currency,
        since=asked.since,
        until=asked.until,
        points=points,
        seconds=found[None].seconds,
        runs=found[None].runs,
        amount=sum(point.amount for point in points),
    )


def periods(asked: Asked) -> Iterable[date]:
    """The first day of each, those without any figure too."""
    day = asked.since if asked.by == "day" else asked.since.replace(day=1)
    while day < asked.until:
        yield day
        day = day + timedelta(days=1) if asked.by == "day" else (day + timedelta(days=32)).replace(day=1)


def table(points: Sequence[RevenuePoint] | Sequence[UsagePoint], currency: str) -> str:
    """As CSV, amounts in minor units of `currency`."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\r\n")
    names = points[0].__struct_encode_fields__ if points else ()
    rows.writerow([*names, "currency"])
    rows.writerows([*(str(value) for value in msgspec.structs.astuple(point)), currency] for point in points)
    return written.getvalue()


def _revenue_point(day: date, row: Any) -> RevenuePoint:
    names = "net", "tax", "purchases", "renewals", "usage", "refunds"
    return RevenuePoint(period=day, **{name: getattr(row, name) if row else 0 for name in names})


def _usage_point(day: date, row: Any) -> UsagePoint:
    names = "seconds", "runs", "devices", "users"
    amount = rounded(row.worth) if row else 0
    return UsagePoint(period=day, amount=amount, **{name: getattr(row, name) if row else 0 for name in names})

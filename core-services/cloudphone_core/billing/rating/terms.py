"""What subscriptions gave on a device, and from when until when: what orders know, as rating wants it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from .rate import FOR_EVER, Term
from .tariffs import HOUR

Use = tuple[UUID, UUID]
"""A user on a device."""

# The last term goes on until the subscription has ended: what runs in the days of grace is the last period's. A change
# of plan begins no period.
TERMS = """
    SELECT s.user_id, s.device_id, t.subscription_id, t.starts_at,
        coalesce(lead(t.starts_at) OVER terms, s.ended_at) AS until,
        max(CASE WHEN o.kind <> 'plan-change' THEN t.starts_at END) OVER terms AS period_start,
        v.currency, v.included_hours, v.rule_id
    FROM billing.subscriptions AS s
    JOIN billing.subscription_terms AS t ON t.subscription_id = s.id
    JOIN billing.orders AS o ON o.id = t.order_id
    JOIN billing.plan_versions AS v ON (v.plan_id, v.revision) = (t.plan_id, t.plan_revision)
    WHERE {which}
    WINDOW terms AS (PARTITION BY t.subscription_id ORDER BY t.starts_at, t.number)
"""


_OF_USES = TERMS.format(which="s.user_id = ANY(CAST(:users AS uuid[])) AND s.device_id = ANY(CAST(:devices AS uuid[]))")


async def terms_of(session: AsyncSession, uses: Iterable[Use]) -> dict[Use, list[Term]]:
    """Of each use asked for; none where the user had no subscription for the device."""
    found: dict[Use, list[Term]] = {use: [] for use in uses}
    if not found:
        return found
    asked = {"users": list({user for user, _ in found}), "devices": list({device for _, device in found})}
    for row in await session.execute(text(_OF_USES), asked):
        if (use := (row.user_id, row.device_id)) in found:
            found[use].append(term_of(row))
    return found


def term_of(row: Any) -> Term:
    return Term(
        begins=second(row.starts_at),
        ends=FOR_EVER if row.until is None else second(row.until),
        subscription_id=row.subscription_id,
        period_start=second(row.period_start or row.starts_at),
        currency=row.currency,
        included=row.included_hours * HOUR,
        rule_id=row.rule_id,
    )


def second(moment: datetime) -> int:
    """The whole second that `moment` lies in, since 1970."""
    return int(moment.timestamp() // 1)


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def affected(terms: Sequence[Term], since: int) -> int:
    """From when on what was rated may change with what changed at `since`: runs of one period share its hours."""
    start = since
    while True:
        touched = [term.period_start for term in terms if term.begins <= since and term.ends > start]
        if min(start, *touched, start) == start:
            return start
        start = min(touched)

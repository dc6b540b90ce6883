"""Rating: a million intervals through the pure function, and from usage records to charges as the worker does it."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_core.billing.models import SCHEMA, UsageRow
from cloudphone_core.billing.rating.rate import FOR_EVER, Run, Term, rate
from cloudphone_core.billing.rating.rounds import rate_due
from cloudphone_core.billing.rating.tariffs import HOUR, Tariff, tariff
from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind, Tier, TimeWindow
from cloudphone_shared.database import Database, copy_rows, migrate
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand

INTERVALS, OF_A_DEVICE = 1_000_000, 100
MARCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
RULE = UUID(int=1)
RULES: dict[RuleKind, RuleDefinition] = {
    "tiered": RuleDefinition(
        tiers=[Tier(up_to_hours=40, rate=Decimal("12.5")), Tier(up_to_hours=None, rate=Decimal("9.99"))]
    ),
    "time-based": RuleDefinition(
        rate=Decimal(10), windows=[TimeWindow(start="22:00", end="06:00", rate=Decimal("2.5"))]
    ),
}


async def rating(stand: Stand, figures: Figures) -> None:
    """Of each device a hundred runs of a month: five hours each, every seven hours and a bit, 20 hours included."""
    intervals = stand.effort.less(INTERVALS, 20_000)
    for kind in RULES:
        terms = [Term(MARCH, FOR_EVER, UUID(int=2), MARCH, "USD", 20 * HOUR, RULE)]
        tariffs = {RULE: [_tariff(kind)]}
        runs, used, parts = list(_runs()), time.process_time(), 0
        for _ in range(intervals // OF_A_DEVICE):
            parts += len(rate(runs, terms, tariffs))
        name = kind.replace("-", "_")
        figures.add(f"rating_{name}_cpu_us", 1e6 * (time.process_time() - used) / intervals, "µs")
        figures.add(f"rating_{name}_parts", parts / intervals, "")
    async with _billing(stand, intervals // OF_A_DEVICE) as database:
        began, used = time.perf_counter(), time.process_time()
        while await rate_due(database):
            pass
        figures.add("rating_written_per_s", intervals / (time.perf_counter() - began), "1/s")
        figures.add("rating_written_cpu_us", 1e6 * (time.process_time() - used) / intervals, "µs")


def _tariff(kind: RuleKind) -> Tariff:
    return tariff(RULE, 1, 0, kind, RULES[kind])


def _runs() -> Iterator[Run]:
    for number in range(OF_A_DEVICE):
        start = MARCH + number * (7 * HOUR + 13)
        yield Run(uuid7(), start, start + 5 * HOUR)


@asynccontextmanager
async def _billing(stand: Stand, devices: int) -> AsyncGenerator[Database]:
    url = await stand.postgres.database()
    await migrate(url, "billing")
    database = Database(url, schema=SCHEMA, service="billing", pool_size=2, statement_timeout_ms=600_000)
    async with database.writing() as session:
        await _fill(session, devices)
    async with database.writing() as session:
        await session.execute(text("ANALYZE"))
    yield database
    await database.close()


async def _fill(session: AsyncSession, devices: int) -> None:
    """Subscriptions that stand there without the purchases that began them."""
    uses = [(uuid7(), uuid7()) for _ in range(devices)]
    await session.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in _SUBSCRIPTIONS:
        await session.execute(
            text(statement), {"users": [user for user, _ in uses], "devices": [device for _, device in uses]}
        )
    await session.execute(text("SET LOCAL session_replication_role = origin"))
    await copy_rows(session, UsageRow, [row for user, device in uses for row in _usage(user, device)])


def _usage(user_id: UUID, device_id: UUID) -> Iterator[dict[str, Any]]:
    for run in _runs():
        start, end = (datetime.fromtimestamp(second, UTC) for second in run[1:])
        yield {
            "id": uuid7(), "run_id": run.run_id, "tenant_id": user_id, "device_id": device_id, "user_id": user_id,
            "started_at": start, "stopped_at": end, "closed_by": "event", "told_stopped_at": end, "told_by": "event",
            "seen_at": start,
        }  # fmt: skip


_SUBSCRIPTIONS = (
    """
    INSERT INTO billing.billing_rules (id, name, kind, currency, active, created_at)
    VALUES ('00000000-0000-0000-0000-000000000001', '', 'tiered', 'USD', true, now())
    """,
    """
    INSERT INTO billing.billing_rule_versions (rule_id, revision, definition, valid_from, actor, created_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 1,
        '{"tiers": [{"upToHours": 40, "rate": "12.5"}, {"upToHours": null, "rate": "9.99"}]}', '2026-01-01', '', now())
    """,
    """
    INSERT INTO billing.plan_versions
        (plan_id, revision, price, currency, period_days, included_hours, rule_id, grace_days, created_at)
    VALUES ('00000000-0000-0000-0000-000000000003', 1, 1, 'USD', 31, 20, '00000000-0000-0000-0000-000000000001', 1,
        now())
    """,
    """
    INSERT INTO billing.orders (
        id, tenant_id, user_id, user_version, device_id, device_version, plan_id, plan_revision, kind, list_price,
        discount, tax, amount, credit, refunded, currency, payment_method, auto_renew, state, last_number, created_at,
        updated_at
    )
    SELECT device_id, user_id, user_id, 1, device_id, 1, '00000000-0000-0000-0000-000000000003', 1, 'purchase', 1, 0, 0,
        1, 0, 0, 'USD', 'wallet', true, 'completed', 1, now(), now()
    FROM unnest(CAST(:users AS uuid[]), CAST(:devices AS uuid[])) AS u (user_id, device_id)
    """,
    """
    INSERT INTO billing.subscriptions (
        id, order_id, tenant_id, user_id, device_id, plan_id, plan_revision, state, period_start, period_end, paid_by,
        worth, auto_renew, created_at
    )
    SELECT device_id, device_id, user_id, user_id, device_id, '00000000-0000-0000-0000-000000000003', 1, 'active',
        '2026-03-01+00', '2026-04-01+00', device_id, 1, true, now()
    FROM unnest(CAST(:users AS uuid[]), CAST(:devices AS uuid[])) AS u (user_id, device_id)
    """,
    """
    INSERT INTO billing.subscription_terms
        (subscription_id, number, order_id, plan_id, plan_revision, starts_at, ends_at)
    SELECT device_id, 1, device_id, '00000000-0000-0000-0000-000000000003', 1, '2026-03-01+00', '2026-04-01+00'
    FROM unnest(CAST(:users AS uuid[]), CAST(:devices AS uuid[])) AS u (user_id, device_id)
    """,
)

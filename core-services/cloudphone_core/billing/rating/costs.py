"""What a user's usage costs so far in the month: the charges of what has ended, and what runs now up to this moment.

Two statements for any number of users.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cloudphone_shared import entities
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.rating import Budget, DeviceCost, RuleDefinition, RuleKind, UserCost
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement

from ..models import Moment
from ..periods import Interval, month_of
from .rate import Part, Run, Term, Used, rate, rounded, total
from .tariffs import Tariff, tariff
from .terms import TERMS, second, term_of

_BUDGET = "amount", "currency", "warn_percent", "low_balance", "month", "warned_at", "exceeded_at", "updated_at"

_CHARGED = f"""
    SELECT a.id AS asked, coalesce(e.version, 0) AS version, c.*,
        {", ".join(f"b.{name} AS budget_{name}" for name in _BUDGET)}
    FROM unnest(:ids) AS a (id)
    LEFT JOIN billing.entity_versions AS e ON e.entity = '{entities.cost_of("")}' || a.id
    LEFT JOIN billing.budgets AS b ON b.user_id = a.id
    LEFT JOIN LATERAL (
        SELECT device_id, currency, sum(seconds)::bigint AS seconds, sum(worth) AS worth,
            coalesce(sum(seconds) FILTER (WHERE included), 0)::bigint AS included
        FROM billing.charges
        WHERE user_id = a.id AND started_at >= :since AND started_at < :until
        GROUP BY device_id, currency
    ) AS c ON true
"""  # noqa: S608

# A device's open run is its last, so what its period used before it is what was charged in it.
_RUNNING = f"""
    WITH running AS (
        SELECT user_id, device_id, run_id, started_at FROM billing.usage_records
        WHERE user_id = ANY(:ids) AND stopped_at IS NULL
    ),
    terms AS (
        {TERMS.format(which="(s.user_id, s.device_id) IN (SELECT user_id, device_id FROM running)")}
    ),
    used AS (
        SELECT c.device_id, c.user_id, c.subscription_id, c.period_start, sum(c.seconds)::bigint AS seconds,
            coalesce(sum(c.seconds) FILTER (WHERE NOT c.included), 0)::bigint AS beyond, sum(c.worth) > 0 AS charged
        FROM running AS r
        JOIN terms AS t ON t.device_id = r.device_id AND t.user_id = r.user_id AND t.starts_at <= r.started_at
            AND (t.until IS NULL OR t.until > r.started_at)
        JOIN billing.charges AS c ON c.device_id = r.device_id AND c.user_id = r.user_id
            AND c.started_at >= t.period_start AND c.subscription_id = t.subscription_id
            AND c.period_start = date_trunc('second', t.period_start)
        GROUP BY c.device_id, c.user_id, c.subscription_id, c.period_start
    )
    SELECT
        (SELECT json_agg(r) FROM running AS r) AS running,
        (SELECT json_agg(t) FROM terms AS t) AS terms,
        (SELECT json_agg(u) FROM used AS u) AS used,
        (SELECT json_agg(v ORDER BY v.valid_from) FROM (
            SELECT v.rule_id, v.revision, v.valid_from, v.definition, r.kind
            FROM billing.billing_rule_versions AS v JOIN billing.billing_rules AS r ON r.id = v.rule_id
            WHERE v.rule_id IN (SELECT rule_id FROM terms)
        ) AS v) AS versions
"""  # noqa: S608


class _OfUse(msgspec.Struct, frozen=True):
    user_id: UUID
    device_id: UUID


class _Running(_OfUse, frozen=True):
    run_id: UUID
    started_at: datetime


class _Term(_OfUse, frozen=True):
    subscription_id: UUID
    starts_at: datetime
    until: datetime | None
    period_start: datetime | None
    currency: str
    included_hours: int
    rule_id: UUID | None


class _Used(_OfUse, frozen=True):
    subscription_id: UUID
    period_start: datetime
    seconds: int
    beyond: int
    charged: bool


class _Version(msgspec.Struct, frozen=True):
    rule_id: UUID
    revision: int
    valid_from: datetime
    kind: RuleKind
    definition: RuleDefinition


class _Sum:
    """Of one device in one currency (None: without a subscription)."""

    def __init__(self) -> None:
        self.seconds = self.included = 0
        self.worth = Decimal(0)

    def add(self, seconds: int, included: int, worth: Decimal) -> None:
        self.seconds, self.included = self.seconds + seconds, self.included + included
        self.worth = total((self.worth, worth))


Sums = dict[tuple[UUID, str | None], _Sum]


@cache
def _charged() -> Statement:
    return _statement(_CHARGED, since=Moment, until=Moment)


@cache
def _running() -> Statement:
    return _statement(_RUNNING)


def _statement(sql: str, **types: Any) -> Statement:
    typed = {"ids": ARRAY(sa.Uuid()), **types}
    binds = [sa.bindparam(name, type_=kind) for name, kind in typed.items()]
    return Statement(sa.text(sql).bindparams(*binds).columns())


async def user_cost(database: Database, user_id: UUID, now: datetime) -> Answer[UserCost]:
    """`as_of` is `now`: what runs costs more by the second, so the answer is for a minute, not for good."""
    return (await user_costs(database, [user_id], now))[user_id]


async def user_costs(database: Database, user_ids: Sequence[UUID], now: datetime) -> dict[UUID, Answer[UserCost]]:
    month = month_of(now)
    sums: defaultdict[UUID, Sums] = defaultdict(lambda: defaultdict(_Sum))
    budgets: dict[UUID, Budget | None] = {}
    versions: dict[UUID, int] = {}
    for row in await database.rows(_charged(), ids=user_ids, since=month.start, until=month.end):
        user_id = row["asked"]
        versions[user_id], budgets[user_id] = row["version"], _budget(row, month)
        if row["device_id"] is not None:
            sums[user_id][row["device_id"], row["currency"]].add(row["seconds"], row["included"], row["worth"])
    # Read last: a run that ends in between is counted by neither for a moment, but never twice.
    [running] = await database.rows(_running(), ids=user_ids)
    for user_id, device_id, part in _parts(running, now):
        if part.start >= second(month.start):
            seconds = part.end - part.start
            currency = part.term and part.term.currency
            sums[user_id][device_id, currency].add(seconds, seconds if part.included else 0, part.worth)
    return {
        user_id: Answer(
            data=_cost(user_id, sums[user_id], budgets[user_id], month, now),
            entities={entities.cost_of(user_id): version},
        )
        for user_id, version in versions.items()
    }


def _cost(user_id: UUID, sums: Sums, budget: Budget | None, month: Interval, now: datetime) -> UserCost:
    devices = [
        DeviceCost(
            device_id=device_id,
            seconds=one.seconds,
            included_seconds=one.included,
            amount=rounded(one.worth),
            currency=currency,
        )
        for (device_id, currency), one in sums.items()
        if currency is not None
    ]
    totals: defaultdict[str, int] = defaultdict(int)
    for device in devices:
        totals[device.currency] += device.amount
    return UserCost(
        user_id=user_id,
        period_start=month.start,
        period_end=month.end,
        as_of=now,
        totals=dict(totals),
        devices=sorted(devices, key=lambda device: (-device.amount, -device.seconds, device.device_id)),
        unsubscribed_seconds=sum(one.seconds for (_, currency), one in sums.items() if currency is None),
        budget=budget,
    )


def _budget(row: Row, month: Interval) -> Budget | None:
    if row["budget_currency"] is None:
        return None
    known = {name: row[f"budget_{name}"] for name in _BUDGET}
    return budget_of(row["asked"], known, month)


def budget_of(user_id: UUID, known: Mapping[str, Any], month: Interval) -> Budget:
    """A budget begins anew with each month."""
    present = known["month"] == month.start
    return Budget(
        user_id=user_id,
        amount=known["amount"],
        currency=known["currency"],
        warn_percent=known["warn_percent"],
        low_balance=known["low_balance"],
        warned_at=known["warned_at"] if present else None,
        exceeded_at=known["exceeded_at"] if present else None,
        updated_at=known["updated_at"],
    )


def _parts(row: Row, now: datetime) -> list[tuple[UUID, UUID, Part]]:
    """Of what runs, up to `now`."""
    running = _read(row["running"], list[_Running])
    if not running:
        return []
    terms: defaultdict[tuple[UUID, UUID], list[Term]] = defaultdict(list)
    for one in _read(row["terms"], list[_Term]):
        terms[one.user_id, one.device_id].append(term_of(one))
    tariffs: defaultdict[UUID, list[Tariff]] = defaultdict(list)
    for one in _read(row["versions"], list[_Version]):
        version = tariff(one.rule_id, one.revision, second(one.valid_from), one.kind, one.definition)
        tariffs[one.rule_id].append(version)
    used = {
        (one.subscription_id, second(one.period_start)): Used(one.seconds, one.beyond, one.charged)
        for one in _read(row["used"], list[_Used])
    }
    found: list[tuple[UUID, UUID, Part]] = []
    for run in running:
        span = Run(run.run_id, second(run.started_at), max(second(now), second(run.started_at)))
        parts = rate([span], terms[run.user_id, run.device_id], tariffs, used)
        found += [(run.user_id, run.device_id, part) for part in parts]
    return found


def _read(aggregate: str | None, kind: Any) -> Any:
    return msgspec.json.decode(aggregate, type=kind) if aggregate else []

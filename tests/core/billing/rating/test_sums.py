"""Over any history of runs, subscriptions and invoices, what was invoiced and what is open add up to what the runs
cost: facts told late, twice, in any order, and corrected after they were invoiced."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_core.billing import runs
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.orders import service as orders
from cloudphone_core.billing.orders import subscriptions
from cloudphone_core.billing.orders.models import OrderRow, SubscriptionRow
from cloudphone_core.billing.plans.models import PlanRow, PlanVersionRow
from cloudphone_core.billing.rating import charges
from cloudphone_core.billing.rating.models import ChargeRow, RuleRow, RuleVersionRow
from cloudphone_core.billing.rating.rate import Run, rate
from cloudphone_core.billing.rating.rules import tariffs_of
from cloudphone_core.billing.rating.terms import second, terms_of
from cloudphone_core.billing.runs import RunFact
from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind, Tier, TimeWindow
from cloudphone_shared.database import Database
from cloudphone_shared.ids import uuid7
from tests.core.owners import Owners

BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES: dict[RuleKind, RuleDefinition] = {
    "fixed": RuleDefinition(rate=Decimal(700)),
    "per-use": RuleDefinition(rate=Decimal("0.3")),
    "tiered": RuleDefinition(
        tiers=[Tier(up_to_hours=3, rate=Decimal("1.7")), Tier(up_to_hours=None, rate=Decimal("0.0000000001"))]
    ),
    "time-based": RuleDefinition(rate=Decimal(5), windows=[TimeWindow(start="22:00", end="07:00", rate=Decimal(1))]),
}


class Rating:
    """A user's two phones under subscriptions; what is told of them is rated and invoiced at any time."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.now, self.owners = BEGAN, Owners()
        self.tenant = uuid7()
        self.user = self.owners.user(self.tenant)
        self.devices = [self.owners.device(self.tenant, self.user.id) for _ in range(2)]
        self.plans = list[UUID]()
        self.held = dict[UUID, UUID]()
        self.facts = list[RunFact]()
        self.database = Database(url, schema=SCHEMA, service="billing", pool_size=2)
        self.do(self._sell)
        for device, plan in zip(self.devices, (2, 3), strict=True):
            self.do(self._subscribe, device, self.plans[plan])

    def do(self, work: Any, *arguments: Any) -> Any:
        async def once() -> Any:
            async with self.database.writing() as session:
                return await work(session, *arguments)

        return self.loop.run(once())

    def runs(self, which: int, gap: int, length: int, runs_on: bool) -> None:
        """A phone runs for some hours after some; what is told of it is still to come."""
        device = self.devices[which].id
        self.now += gap * HOUR + timedelta(seconds=length, microseconds=gap)
        fact = RunFact(
            run_id=uuid7(), device_id=device, tenant_id=self.tenant, user_id=self.user.id, started_at=self.now
        )
        self.now += length * HOUR
        seen = msgspec.structs.replace(fact, stopped_at=fact.started_at + length * HOUR / 2, closed_by="heartbeat")
        stopped = msgspec.structs.replace(fact, stopped_at=self.now)
        self.facts += [fact] if runs_on else [fact, seen, stopped]

    def nearly_all_is_told(self) -> None:
        """The last first."""
        while len(self.facts) > 1:
            self.do(runs.hear, self.facts.pop(), self.now)

    def is_told(self, which: int, again: bool) -> None:
        if not self.facts:
            return
        fact = self.facts[which % len(self.facts)]
        self.do(runs.hear, fact, self.now)
        if not again:
            self.facts.remove(fact)

    def subscribe_or_change(self, which: int, plan: int) -> None:
        self.do(self._subscribe, self.devices[which], self.plans[plan])

    def end(self, which: int) -> None:
        """Seldom."""
        if which < 2 and (held := self.held.pop(self.devices[which].id, None)) is not None:
            self.do(self._end, held)

    def renew(self, which: int) -> None:
        if (held := self.held.get(self.devices[which].id)) is not None:
            self.do(self._renew, held)

    def what_is_marked_is_rated(self) -> None:
        while self.do(charges.rate_due, 3):
            pass

    def invoice(self, days_ago: int) -> None:
        self.do(self._invoice, self.now - days_ago * DAY)

    def no_invoiced_time_counts_twice(self) -> None:
        """Net of what was taken back, at most one charge for any second of a run."""
        for spans in self.do(self._net).values():
            assert all(count in (0, 1) for count in spans)

    def adds_up(self) -> None:
        for fact in self.facts:
            self.do(runs.hear, fact, self.now)
        self.what_is_marked_is_rated()
        expected = self.do(self._expected)
        assert self.do(self._found) == expected
        self.invoice(-99)
        assert self.do(self._found) == expected
        assert self.do(charges.open_charges, self.user.id, self.now + 99 * DAY) == []
        self.no_invoiced_time_counts_twice()

    def close(self) -> None:
        self.loop.run(self.database.close())
        self.loop.close()

    async def _sell(self, session: AsyncSession) -> None:
        await session.execute(text("DELETE FROM billing.rating_due"))
        for hours, (kind, definition) in enumerate(RULES.items()):
            rule_row = RuleRow(
                id=uuid7(), tenant_id=None, name=kind, kind=kind, currency="USD", active=True, created_at=BEGAN
            )
            plan_id = uuid7()
            terms: dict[str, Any] = {
                "price": 1, "currency": "USD", "period_days": 3, "included_hours": hours * 3, "template_id": None,
                "rule_id": rule_row.id, "grace_days": 1, "created_at": BEGAN, "revision": 1,
            }  # fmt: skip
            session.add_all([rule_row, PlanRow(id=plan_id, name=kind, active=True, **terms)])
            await session.flush()
            stored = msgspec.to_builtins(definition)
            session.add(
                RuleVersionRow(
                    rule_id=rule_row.id, revision=1, definition=stored, valid_from=BEGAN - DAY, actor="",
                    created_at=BEGAN,
                )
            )  # fmt: skip
            session.add(PlanVersionRow(plan_id=plan_id, **terms))
            self.plans.append(plan_id)

    async def _order(self, session: AsyncSession, kind: Any, plan_id: UUID, device: Any) -> OrderRow:
        order = await orders.place(
            session, order_id=uuid7(), saga_id=None, plan_id=plan_id, user=self.user, device=device, coupon_code=None,
            payment_method="wallet", auto_renew=True, actor="test", at=self.now,
        )  # fmt: skip
        order.kind = kind
        return order

    async def _subscribe(self, session: AsyncSession, device: Any, plan_id: UUID) -> None:
        if (held := self.held.get(device.id)) is None:
            order = await self._order(session, "purchase", plan_id, device)
            version = await session.get_one(PlanVersionRow, (plan_id, 1))
            self.held[device.id] = (await subscriptions.begin(session, order, version, self.now)).id
            return
        order = await self._order(session, "plan-change", plan_id, device)
        subscription = await session.get_one(SubscriptionRow, held)
        await subscriptions.cut_term(session, subscription, self.now)
        await session.flush()
        subscription.plan_id = plan_id
        subscription.period_end = max(subscription.period_end, self.now + HOUR)
        await subscriptions.add_term(session, subscription, order, self.now)

    async def _renew(self, session: AsyncSession, subscription_id: UUID) -> None:
        subscription = await session.get_one(SubscriptionRow, subscription_id)
        if subscription.period_end > self.now:
            return
        order = await self._order(session, "renewal", subscription.plan_id, None)
        subscription.period_start, subscription.period_end = subscription.period_end, self.now + 3 * DAY
        await session.flush()
        await subscriptions.add_term(session, subscription, order, subscription.period_start)

    async def _end(self, session: AsyncSession, subscription_id: UUID) -> None:
        subscription = await session.get_one(SubscriptionRow, subscription_id)
        subscription.state, subscription.ended_at, subscription.end_reason = "ended", self.now, "test"

    async def _invoice(self, session: AsyncSession, until: datetime) -> None:
        found = await charges.open_charges(session, self.user.id, until)
        assert all(row.stopped_at <= until for row in found)
        if found:
            await charges.claim(session, uuid7(), {1: [row.id for row in found]})

    async def _found(self, session: AsyncSession) -> Fraction:
        rows = await session.scalars(select(ChargeRow.worth).where(ChargeRow.user_id == self.user.id))
        return sum((Fraction(worth) for worth in rows), Fraction(0))

    async def _net(self, session: AsyncSession) -> dict[UUID, list[int]]:
        """Of each run, how often each stretch between two cuts was invoiced and not taken back."""
        invoiced = select(ChargeRow).where(ChargeRow.user_id == self.user.id, ChargeRow.invoice_id.is_not(None))
        by_run: defaultdict[UUID, list[ChargeRow]] = defaultdict(list)
        for row in await session.scalars(invoiced):
            by_run[row.run_id].append(row)
        return {
            run_id: [
                sum((1 if row.seconds > 0 else -1) for row in rows if row.started_at <= cut < row.stopped_at)
                for cut in {row.started_at for row in rows}
            ]
            for run_id, rows in by_run.items()
        }

    async def _expected(self, session: AsyncSession) -> Fraction:
        """Of the intervals as they stand, rated at one go."""
        total = Fraction(0)
        for device in self.devices:
            use = self.user.id, device.id
            ended = await session.execute(
                text(
                    "SELECT run_id, started_at, stopped_at FROM billing.usage_records"
                    " WHERE device_id = :device AND stopped_at IS NOT NULL"
                ),
                {"device": device.id},
            )
            known = [Run(row.run_id, second(row.started_at), second(row.stopped_at)) for row in ended]
            terms = (await terms_of(session, [use]))[use]
            tariffs = await tariffs_of(session, {term.rule_id for term in terms if term.rule_id})
            total += sum((Fraction(part.worth) for part in rate(known, terms, tariffs)), Fraction(0))
        return total


phone = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("runs"), phone, st.integers(0, 30), st.integers(1, 40), st.booleans()),
    st.tuples(st.just("runs"), phone, st.integers(0, 3), st.integers(1, 9), st.just(False)),
    st.tuples(st.just("is_told"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("is_told"), st.integers(0, 20), st.just(False)),
    st.tuples(st.just("nearly_all_is_told")),
    st.tuples(st.just("invoice"), st.integers(-1, 1)),
    st.tuples(st.just("what_is_marked_is_rated")),
    st.tuples(st.just("renew"), phone),
    st.tuples(st.just("subscribe_or_change"), phone, st.integers(0, 3)),
    st.tuples(st.just("end"), st.integers(0, 4)),
)


@settings(max_examples=8, deadline=None)
@given(history=st.lists(steps, min_size=12, max_size=25))
def test_invoiced_and_open_charges_add_up_to_what_the_runs_cost(
    database_url: str, history: list[tuple[Any, ...]]
) -> None:
    rating = Rating(database_url)
    try:
        for step, *arguments in history:
            getattr(rating, step)(*arguments)
        rating.adds_up()
    finally:
        rating.close()

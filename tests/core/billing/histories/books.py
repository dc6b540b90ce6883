"""Any history of money: purchases, recharges, refunds, webhooks in any order and number, crashes anywhere, providers
and services that do not answer, clocks that jump."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import sqlalchemy as sa
import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloudphone_core.billing.invoices import rounds as invoicing
from cloudphone_core.billing.invoices.bill_to import customer
from cloudphone_core.billing.invoices.crediting import credit
from cloudphone_core.billing.invoices.issuing import Occasion, issue
from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.orders import quota_releases, refunds, renewals, subscriptions
from cloudphone_core.billing.payments import rounds, webhooks
from cloudphone_core.billing.payments.models import PaymentRow
from cloudphone_core.billing.payments.provider import NoAnswer
from cloudphone_core.billing.payments.recharges import open_recharge
from cloudphone_core.billing.payments.reconciliation import reconcile
from cloudphone_core.billing.payments.refunds import request_refund
from cloudphone_core.billing.payments.service import Payments
from cloudphone_core.billing.plans import service as plans
from cloudphone_core.billing.rating import rounds as rating
from cloudphone_core.billing.rating import rules
from cloudphone_core.billing.runs import RunFact, hear
from cloudphone_core.billing.sagas import operating, purchase
from cloudphone_core.billing.sagas.buying import buy
from cloudphone_core.billing.sagas.engine import Engine
from cloudphone_core.billing.sagas.replies import hear_payment, hear_reply
from cloudphone_core.billing.sagas.steps import Pace
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import OrderCreate, PlanCreate
from cloudphone_shared.contracts.invoice import CreditNoteCreate
from cloudphone_shared.contracts.payment import RechargeCreate
from cloudphone_shared.contracts.purchase import OrderRefund, PaymentMethod
from cloudphone_shared.contracts.rating import RuleCreate, RuleDefinition, Tier
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database
from cloudphone_shared.database.engine import asyncpg_url
from cloudphone_shared.errors import Conflict, IdempotencyKeyReused, Invalid, Unavailable
from cloudphone_shared.events.scheduler import DeviceAllocateRequested, DeviceReleaseRequested

from .cards import RIGHT, CardsInMemory, Fault, Page
from .elsewhere import Allocation, Elsewhere

PACE = Pace(lease=300, backoff=(300.0,), tries=3, alarm_after=2)
"""Nothing is due by itself while a history is told: time passes where the history says so."""

AWAY = st.sampled_from([False, False, False, False, True])
FAULTS = st.sampled_from(["none", "none", "none", "before", "after", "unreachable"])
WHICH = st.integers(0, 5039)
DIES_AT = st.one_of(st.just(0), st.just(0), st.just(0), st.integers(1, 40))
"""The statement before which the process dies; 0: it lives."""


T = TypeVar("T")


def _one(which: int, things: Sequence[T]) -> Sequence[T]:
    """One of them, or none where there is none: what is drawn must not hang on what there is."""
    return [things[which % len(things)]] if things else []


class Cut(BaseException):
    """The process died here."""


class Ground:
    """What all histories of a test stand on; each has a tenant of its own. `read` looks without a transaction.

    `dies_in`: so many statements more and the process dies.
    """

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.database = Database(url, schema=SCHEMA, service="billing", pool_size=3)
        self.read: asyncpg.Connection[Any] = self.runner.run(asyncpg.connect(asyncpg_url(url)))
        self.dies_in, self.histories = -1, 0
        sa.event.listen(self.database._engine.sync_engine, "before_cursor_execute", self._count)

    def close(self) -> None:
        self.runner.run(self.read.close())
        self.runner.run(self.database.close())
        self.runner.close()

    def park(self) -> None:
        """Nothing of what was begun before is of concern any more."""
        for statement in _PARK:
            self.runner.run(self.read.execute(statement))

    def _count(self, *_: Any) -> None:
        if self.dies_in > 0:
            self.dies_in -= 1
            if self.dies_in == 0:
                raise Cut


class Books(RuleBasedStateMachine):
    ground: ClassVar["Ground"]

    def __init__(self) -> None:
        super().__init__()
        self.database, self.run = self.ground.database, self.ground.runner.run
        self.run(self._begin())

    async def _begin(self) -> None:
        # Days of its own: a day's books are held against all of ours.
        self.ground.histories += 1
        self.now = datetime(2026, 3, 15, 12, tzinfo=UTC) + self.ground.histories * timedelta(days=200)
        self.cards, self.elsewhere = CardsInMemory(lambda: self.now), Elsewhere(devices=3, quota=6)
        provider: Any = self.cards
        self.payments = Payments(self.database, lambda: self.now, provider=provider)
        self.payments.on_settled(hear_payment)
        core: Any = self.elsewhere
        self.engine = self.purchases(purchase.Shop(core=core, payments=self.payments, now=lambda: self.now))
        self.tenant = uuid4()
        self.users = [self._user(name) for name in ("Ana", "Ben")]
        rule_id = await self._rule()
        self.plans = [await self._plan(price, rule_id) for price in (0, 700, 1999)]
        self.facts: list[RunFact] = []
        self.ran_until: dict[UUID, datetime] = {}
        self.requests: list[DeviceAllocateRequested] = []
        self.relayed: int = await self.ground.read.fetchval("SELECT coalesce(max(id), 0) FROM billing.outbox")
        self.heard = 0
        self.keys = 0
        self.used: set[int] = set()

    def purchases(self, shop: purchase.Shop) -> Engine:
        return purchase.purchases(self.database, shop, pace=PACE)

    def _user(self, name: str) -> User:
        began = datetime(2026, 1, 1, tzinfo=UTC)
        return User(
            id=uuid4(), tenant_id=self.tenant, tenant_name="Acme", name=name, email=f"{name}@example.com",
            role="customer", data_scope="self", status="active", created_at=began, updated_at=began, version=1,
        )  # fmt: skip

    async def _plan(self, price: int, rule_id: UUID) -> UUID:
        async with self.database.writing() as session:
            new = PlanCreate(name=f"at {price}", price=price, period_days=1, included_hours=1, rule_id=rule_id)
            return (await plans.create_plan(session, self._caller(uuid4(), "all"), new, self.now))[0]

    async def _rule(self) -> UUID:
        """Less than a cent a minute: what is rounded too early is seen."""
        async with self.database.writing() as session:
            new = RuleCreate(
                name="by the hour", kind="tiered", currency="USD",
                definition=RuleDefinition(tiers=[Tier(up_to_hours=None, rate=Decimal("19.99"))]),
            )  # fmt: skip
            return (await rules.create_rule(session, self._caller(uuid4(), "all"), new, self.now))[0]

    def _caller(self, who: UUID, scope: Any = "self") -> Caller:
        return Caller(
            id=str(who), tenant_id=str(self.tenant), role="admin", kind="user", data_scope=scope,
            permissions=frozenset(), sessions_version=0, expires_at=0, token="",
        )  # fmt: skip

    async def _rows(self, sql: str, *parameters: object) -> list[Any]:
        """`$1` is the tenant."""
        return await self.ground.read.fetch(sql, self.tenant, *parameters)

    async def _scalar(self, sql: str, *parameters: object) -> Any:
        return (await self._rows(sql, *parameters))[0][0]

    def happens(self, work: Awaitable[Any], dies_at: int = 0, fault: Fault = "none", *, away: bool = False) -> Any:
        """What it returned; None where it was refused, got no answer, or died."""
        self.cards.fault, self.elsewhere.away = fault, away
        self.ground.dies_in = dies_at or -1
        try:
            return self.run(work)
        except (Cut, Conflict, IdempotencyKeyReused, Unavailable, NoAnswer):
            return None
        finally:
            self.ground.dies_in, self.cards.fault, self.elsewhere.away = -1, "none", False
            self.run(self._relay())

    async def _relay(self) -> None:
        """What was committed reaches the scheduler: its devices are given back at once, requests wait for an answer."""
        kinds: dict[str, Any] = {kind.type: kind for kind in (DeviceAllocateRequested, DeviceReleaseRequested)}
        rows = await self.ground.read.fetch(_OUTBOX, self.relayed, list(kinds))
        for number, kind, payload in rows:
            self.relayed = number
            event = msgspec.json.decode(payload, type=kinds[kind])
            if event.tenant_id == self.tenant:
                if isinstance(event, DeviceReleaseRequested):
                    self.elsewhere.release(event)
                else:
                    self.requests.append(event)

    # What customers do.

    @rule(who=st.integers(0, 1), amount=st.integers(100, 20_000))
    def money_is_given(self, who: int, amount: int) -> None:
        self.happens(self._give(self.users[who], amount))

    async def _give(self, user: User, amount: int) -> None:
        postings = [
            Posting(transfers.wallet(self.tenant, user.id, "USD"), amount),
            Posting(transfers.of_tenant(self.tenant, "goodwill", "USD"), -amount),
        ]
        async with self.database.writing() as session:
            await transfers.transfer(
                session, key=str(uuid4()), kind="adjustment", postings=postings, reason="given", reference=None,
                actor="test", at=self.now,
            )  # fmt: skip

    @rule(who=st.integers(0, 1), amount=st.integers(100, 5000), dies_at=DIES_AT, fault=FAULTS)
    def recharge(self, who: int, amount: int, dies_at: int, fault: Fault) -> None:
        self.happens(self._recharge(self.users[who], amount), dies_at, fault)

    async def _recharge(self, user: User, amount: int) -> None:
        async with self.database.writing() as session:
            wanted = RechargeCreate(amount=amount)
            payment = await open_recharge(session, user, wanted, self.now, self.payments.patience.checkout)
        await self.payments.hold(payment.id)

    @rule(
        who=st.integers(0, 1), plan=st.integers(0, 2), method=st.sampled_from(["wallet", "wallet", "card"]),
        again=st.booleans(), dies_at=DIES_AT, fault=FAULTS, away=AWAY,
    )  # fmt: skip
    def purchase(
        self, who: int, plan: int, method: PaymentMethod, again: bool, dies_at: int, fault: Fault, away: bool
    ) -> None:
        """`again`: with the Idempotency-Key of the last one, which may have wanted something else."""
        self.keys += not again
        self._buy(who, plan, method, dies_at, fault, away=away)

    def _buy(
        self, who: int, plan: int, method: PaymentMethod, dies_at: int = 0, fault: Fault = "none", *, away: bool = False
    ) -> None:
        user = self.users[who]
        asked = OrderCreate(plan_id=self.plans[plan], payment_method=method)
        self.used.add(self.keys)
        key, digest = f"{self.tenant}/{self.keys}", f"{who} {plan} {method}".encode()
        work = buy(self.database, self.engine, self._caller(user.id), key, asked, user, None, digest)
        self.happens(work, dies_at, fault, away=away)

    @rule(who=st.integers(0, 1), plan=st.integers(0, 2))
    def a_plan_is_bought(self, who: int, plan: int) -> None:
        """Without a hitch, while hardly anybody has one: so that there is something to use, renew and give back."""
        if sum(each.live for each in self.elsewhere.allocations.values()) > 1:
            return
        self.happens(self._give(self.users[who], 2000))
        waiting = len(self.requests)
        self.keys += 1
        self._buy(who, plan, "wallet")
        for asked in self.requests[waiting:]:
            self.happens(self._reply(asked, willing=True))
        while self.happens(self.engine.take_due()):
            pass

    @rule(which=WHICH, accepted=st.booleans())
    def a_card_is_presented(self, which: int, accepted: bool) -> None:
        for page in _one(which, self._pages("open")):
            self.cards.present_card(page, accepted=accepted)

    def _pages(self, state: str) -> list[Page]:
        return [page for page in self.cards.pages.values() if page.state == state]

    @rule(which=WHICH, minutes=st.integers(1, 300))
    def a_device_runs(self, which: int, minutes: int) -> None:
        """What is told of it is heard at some time, in any order, and more than once."""
        live = [each for each in self.elsewhere.allocations.values() if each.live]
        for found in _one(which, live):
            self.runs(found, minutes)

    def runs(self, found: Allocation, minutes: int) -> None:
        start = max(self.now, self.ran_until.get(found.device_id, self.now))
        stop = self.ran_until[found.device_id] = start + timedelta(minutes=minutes)
        user_id = next(each.user_id for each in self.requests if each.saga_id == found.saga_id)
        fact = RunFact(
            run_id=uuid4(), device_id=found.device_id, tenant_id=self.tenant, user_id=user_id, started_at=start,
            stopped_at=stop,
        )  # fmt: skip
        self.facts += [fact, msgspec.structs.replace(fact, stopped_at=None)]

    # What others tell us.

    @rule(which=WHICH, dies_at=DIES_AT)
    def a_run_is_heard_of(self, which: int, dies_at: int) -> None:
        for fact in _one(which, self.facts):
            self.happens(self._hear(fact), dies_at)

    async def _hear(self, fact: RunFact) -> None:
        async with self.database.writing() as session:
            await hear(session, fact, self.now)

    @rule(which=WHICH, dies_at=DIES_AT, fault=FAULTS, last=st.booleans())
    def a_webhook_comes(self, which: int, dies_at: int, fault: Fault, last: bool) -> None:
        for event in _one(-1 if last else which, self.cards.events):
            self.happens(self._webhook(event), dies_at, fault)

    def _webhook(self, event: bytes) -> Awaitable[Any]:
        return webhooks.hear(self.payments, event, RIGHT)

    async def _look_again(self) -> None:
        """At every payment by card, due or not."""
        for row in await self._rows("SELECT id FROM billing.payments WHERE tenant_id = $1 AND checkout_id IS NOT NULL"):
            await self.payments.look(row["id"])

    @rule(which=WHICH)
    def a_forged_webhook_moves_nothing(self, which: int) -> None:
        before = self.run(self._figures())
        for event in _one(which, self.cards.events):
            with pytest.raises(Invalid):
                self.happens(webhooks.hear(self.payments, event, "forged"))
        assert self.run(self._figures()) == before

    @rule(which=WHICH, willing=st.sampled_from([True, True, False]), dies_at=DIES_AT)
    def the_scheduler_replies(self, which: int, willing: bool, dies_at: int) -> None:
        """Also again, and late."""
        for asked in _one(which, self.requests):
            self.happens(self._reply(asked, willing), dies_at)

    async def _reply(self, asked: DeviceAllocateRequested, willing: bool) -> None:
        reply = self.elsewhere.reply(asked, willing=willing)
        async with self.database.writing() as session:
            await hear_reply(session, reply, self.now)

    @rule(which=WHICH, won=st.booleans(), closed=st.booleans())
    def a_charge_is_contested(self, which: int, won: bool, closed: bool) -> None:
        for page in _one(which, [page for page in self.cards.pages.values() if page.took]):
            if closed:
                self.cards.close_dispute(page, won=won)
            else:
                self.cards.open_dispute(page)

    # What workers and operators do.

    @rule(dies_at=DIES_AT, fault=FAULTS, away=AWAY)
    def a_worker_looks(self, dies_at: int, fault: Fault, away: bool) -> None:
        self.happens(self.engine.take_due(), dies_at, fault, away=away)

    @rule(dies_at=DIES_AT, fault=FAULTS)
    def payments_are_looked_after(self, dies_at: int, fault: Fault) -> None:
        self.happens(rounds.look_after(self.payments), dies_at, fault)

    @rule(which=WHICH, dies_at=DIES_AT, fault=FAULTS, away=AWAY)
    def an_operator_cancels(self, which: int, dies_at: int, fault: Fault, away: bool) -> None:
        for row in _one(which, self.run(self._rows(_TO_CANCEL))):
            self.happens(self._cancel(row["id"]), dies_at, fault, away=away)

    def _cancel(self, saga_id: UUID) -> Awaitable[None]:
        return operating.turn_back(self.database, self.engine, saga_id, "no longer wanted", "operator")

    @rule(which=WHICH, percent=st.sampled_from([10, 50, 100]), dies_at=DIES_AT, fault=FAULTS)
    def an_order_is_refunded(self, which: int, percent: int, dies_at: int, fault: Fault) -> None:
        for order in _one(which, self.run(self._rows(_REFUNDABLE))):
            amount = None if percent == 100 else max(1, order["amount"] * percent // 100)
            self.happens(self._refund(order["id"], amount), dies_at, fault)

    async def _refund(self, order_id: UUID, amount: int | None) -> None:
        async with self.database.writing() as session:
            order, purchase, subscription = await subscriptions.locked_with(session, order_id)
            wanted = OrderRefund(amount=amount)
            await refunds.refund(session, purchase, order, subscription, wanted, actor="test", at=self.now)

    @rule(which=WHICH, amount=st.integers(1, 6000), dies_at=DIES_AT)
    def a_recharge_is_refunded(self, which: int, amount: int, dies_at: int) -> None:
        for row in _one(which, self.run(self._rows(_RECHARGES))):
            self.happens(self._pay_back(row["id"], amount), dies_at)

    async def _pay_back(self, payment_id: UUID, amount: int) -> None:
        async with self.database.writing() as session:
            payment = await session.get_one(PaymentRow, payment_id)
            await request_refund(session, payment, amount, "sent back", "test", self.now)

    @rule(
        what=st.sampled_from(["renew", "end", "refunds", "quotas", "rate", "settle", "credit", "books"]),
        dies_at=DIES_AT, away=AWAY,
    )  # fmt: skip
    def a_round_is_made(self, what: str, dies_at: int, away: bool) -> None:
        self.happens(self._round(what), dies_at, away=away)

    async def _round(self, what: str) -> int:
        core: Any = self.elsewhere
        return await {
            "renew": lambda: renewals.renew_due(self.database, self.now),
            "end": lambda: renewals.end_overdue(self.database, self.now),
            "refunds": lambda: refunds.follow_refunds(self.database, self.now),
            "quotas": lambda: quota_releases.release_quotas(self.database, core, self.now),
            "rate": lambda: rating.rate_due(self.database),
            "settle": lambda: invoicing.settle_from_wallets(self.database, self.now),
            "credit": lambda: invoicing.credit_refunds(self.database, self.now),
            "books": lambda: self._compare(self.now.date()),
        }[what]()

    async def _compare(self, day: date) -> int:
        """How many differences there were, none of which may be left."""
        report_id = await reconcile(self.payments, day)
        [(body,)] = await self.ground.read.fetch(_DIFFERENCES, report_id)
        found = json.loads(body)
        assert all(each["repaired"] for each in found), found
        return len(found)

    @rule(who=st.integers(0, 1), dies_at=DIES_AT)
    def an_invoice_is_issued(self, who: int, dies_at: int) -> None:
        self.happens(self._invoice(self.users[who]), dies_at)

    async def _invoice(self, user: User) -> None:
        async with self.database.writing() as session:
            who = await customer(session, self.tenant, user.id)
            await issue(session, who, self.now, Occasion(actor="test", at=self.now))

    @rule(which=WHICH, dies_at=DIES_AT)
    def an_invoice_is_credited(self, which: int, dies_at: int) -> None:
        for row in _one(which, self.run(self._rows(_INVOICES))):
            self.happens(self._credit(row["id"]), dies_at)

    async def _credit(self, invoice_id: UUID) -> None:
        async with self.database.writing() as session:
            note = CreditNoteCreate(reason="too much")
            await credit(session, self._caller(uuid4(), "all"), invoice_id, note, self.now)

    @rule(minutes=st.sampled_from([1, 5, 31, 60 * 25]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(what=st.sampled_from(["leases", "pauses", "waits"]))
    def it_is_time(self, what: str) -> None:
        self.run(self._time(what))

    async def _time(self, what: str) -> None:
        past = "clock_timestamp() - interval '1 second'"
        where, also = {
            "leases": ("lease_token IS NOT NULL", ""),
            "pauses": ("state IN ('running', 'compensating')", ""),
            "waits": ("state = 'waiting'", f", deadline_at = {past}"),
        }[what]
        await self._rows(f"UPDATE billing.sagas SET wake_at = {past}{also} WHERE tenant_id = $1 AND {where}")

    # What must hold after each step.

    async def _figures(self) -> list[Any]:
        return await self._rows(
            """
            SELECT id::text, balance, held FROM billing.accounts WHERE tenant_id = $1
            UNION ALL SELECT key, 0, 0 FROM billing.transfers WHERE tenant_id = $1 ORDER BY 1
            """
        )

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        found = self.run(self._rows(_OUT_OF_ORDER, len(self.used)))
        assert not found, [tuple(row) for row in found]
        for page in self.cards.pages.values():
            assert page.took <= 1 and sum(page.refunds.values()) <= page.took * page.asked.amount, page

    # What must hold once everything has come to rest.

    def teardown(self) -> None:
        self.run(self._comes_to_rest())
        self.run(self._adds_up())

    async def _comes_to_rest(self) -> None:
        """Everybody answers, nobody dies, everything that was told arrives, and time passes."""
        for _ in range(40):
            await self._relay()
            for asked in self.requests:
                await self._reply(asked, willing=False)
            while self.heard < len(self.cards.events):
                event = self.cards.events[self.heard]
                self.heard += 1
                await webhooks.hear(self.payments, event, RIGHT)
            for what in ("leases", "pauses", "waits"):
                await self._time(what)
            while await self.engine.take_due():
                pass
            self.now += timedelta(hours=2)
            while await rounds.look_after(self.payments):
                pass
            for fact in self.facts:
                await self._hear(fact)
            for what in ("refunds", "quotas", "end", "rate", "credit"):
                while await self._round(what):
                    pass
            for day in {line.at.date() for line in self.cards.lines}:
                await self._compare(day)
            if not await self._scalar(_UNSETTLED) and self.heard == len(self.cards.events):
                await self._relay()
                return
        raise AssertionError(await self._rows(_RESTLESS))

    async def _adds_up(self) -> None:
        await self._all_is_invoiced_and_paid()
        balances = {row["kind"]: int(row["balance"]) for row in await self._rows(_BALANCES)}
        assert sum(balances.values()) == 0
        assert -balances.get("clearing", 0) == self.cards.has(self.tenant), "the provider has what we say it has"
        earned = balances.get("revenue", 0) + balances.get("tax", 0)
        assert earned == await self._scalar(_INVOICED), "invoices say what was earned"
        assert earned == await self._scalar(_PAID_FOR_ORDERS) + await self._scalar(_USED), "orders and usage are earned"
        assert not balances.get("receivable", 0), "who has paid owes nothing"
        assert not await self._scalar(_PENDING), "nothing is held for ever"
        assert not await self._scalar(_LEFT_OFF), "every charge is on an invoice"
        assert not await self._rows(_WRONG_LINES), "a line is what its charges are, rounded once"
        assert not await self._rows(_WRONG_SECONDS), "each second of a run is charged once"
        live = {each.saga_id for each in self.elsewhere.allocations.values() if each.live}
        kept = {row["saga_id"] for row in await self._rows(_KEPT)}
        assert live == kept, "devices are with those who pay for them, and with nobody else"
        assert all(each.confirmed for each in self.elsewhere.allocations.values() if each.live)
        held = {key for key, state in self.elsewhere.reservations.items() if state != "released"}
        assert held == kept, "quotas are used by those who have a device"
        assert all(self.elsewhere.reservations[key] == "committed" for key in held)

    async def _all_is_invoiced_and_paid(self) -> None:
        self.now = max([self.now, *self.ran_until.values()]) + timedelta(seconds=1)
        for user in self.users:
            await self._give(user, 10**9)
        await self._round("settle")
        for user in self.users:
            await self._invoice(user)
        # What comes later in the same database has nothing to do with this one.
        await self._rows(_REST)


_OUTBOX = "SELECT id, type, payload::text FROM billing.outbox WHERE id > $1 AND type = ANY($2) ORDER BY id"

_OUT_OF_ORDER = """
SELECT 'an ended purchase holds money' AS what, s.id::text AS which
FROM billing.sagas AS s JOIN billing.payments AS p ON p.order_id = s.order_id
WHERE s.tenant_id = $1 AND s.wake_at IS NULL AND p.held
UNION ALL
SELECT 'an ended purchase left money pending', s.id::text
FROM billing.sagas AS s JOIN billing.transfers AS t ON t.tenant_id = s.tenant_id AND t.key = 'order:' || s.order_id
WHERE s.tenant_id = $1 AND s.wake_at IS NULL AND t.state = 'pending'
UNION ALL
SELECT 'an undone purchase took money or keeps a device', s.id::text
FROM billing.sagas AS s
LEFT JOIN billing.payments AS p ON p.order_id = s.order_id
LEFT JOIN billing.order_allocations AS a ON a.order_id = s.order_id
WHERE s.tenant_id = $1 AND s.state = 'compensated'
    AND (p.state = 'success' AND p.captured > p.refunding + p.refunded OR a.state = 'held')
UNION ALL
SELECT 'a completed purchase was not paid', s.id::text
FROM billing.sagas AS s JOIN billing.payments AS p ON p.order_id = s.order_id
WHERE s.tenant_id = $1 AND s.state = 'completed' AND p.state <> 'success'
UNION ALL
SELECT 'an order and its purchase disagree', s.id::text
FROM billing.sagas AS s JOIN billing.orders AS o ON o.id = s.order_id
WHERE s.tenant_id = $1 AND (
    s.state = 'completed' AND o.state NOT IN ('completed', 'refunding', 'refunded')
    OR s.state = 'compensated' AND o.state NOT IN ('cancelled', 'failed', 'expired')
)
UNION ALL
SELECT 'a wallet is overdrawn', id::text FROM billing.accounts
WHERE tenant_id = $1 AND kind = 'wallet' AND (balance - held < 0 OR held < 0)
UNION ALL
SELECT 'a purchase has two orders', saga_id::text FROM billing.orders
WHERE tenant_id = $1 AND saga_id IS NOT NULL GROUP BY saga_id HAVING count(*) > 1
UNION ALL
SELECT 'a key bought twice', count(*)::text FROM billing.sagas WHERE tenant_id = $1 HAVING count(*) > $2
UNION ALL
SELECT 'more was refunded than taken', id::text FROM billing.payments
WHERE tenant_id = $1 AND refunding + refunded > captured
"""

_UNSETTLED = """
SELECT (SELECT count(*) FROM billing.sagas WHERE tenant_id = $1 AND wake_at IS NOT NULL)
    + (SELECT count(*) FROM billing.payments WHERE tenant_id = $1 AND next_look_at IS NOT NULL)
    + (SELECT count(*) FROM billing.refunds WHERE tenant_id = $1 AND state NOT IN ('success', 'failed'))
"""

_RESTLESS = """
SELECT state, step, failure FROM billing.sagas WHERE tenant_id = $1 AND wake_at IS NOT NULL
UNION ALL SELECT state, asked, failure FROM billing.payments WHERE tenant_id = $1 AND next_look_at IS NOT NULL
UNION ALL SELECT state, 'refund', failure FROM billing.refunds WHERE tenant_id = $1 AND next_look_at IS NOT NULL
"""

_TO_CANCEL = """
SELECT id FROM billing.sagas WHERE tenant_id = $1 AND wake_at IS NOT NULL ORDER BY created_at DESC LIMIT 3
"""

_INVOICES = "SELECT id FROM billing.invoices WHERE tenant_id = $1 ORDER BY kind, sequence"

_REFUNDABLE = """
SELECT id, amount FROM billing.orders
WHERE tenant_id = $1 AND state IN ('completed', 'refunding') ORDER BY created_at, id
"""

_RECHARGES = """
SELECT id FROM billing.payments WHERE tenant_id = $1 AND purpose = 'recharge' ORDER BY created_at, id
"""

_DIFFERENCES = "SELECT differences::text FROM billing.payment_reconciliations WHERE id = $1"

_BALANCES = """
SELECT a.kind, sum(e.amount) AS balance
FROM billing.entries AS e JOIN billing.accounts AS a ON a.id = e.account_id
WHERE a.tenant_id = $1 GROUP BY a.kind
"""

_INVOICED = "SELECT coalesce(sum(total), 0) FROM billing.invoices WHERE tenant_id = $1"

_PAID_FOR_ORDERS = """
SELECT coalesce(sum(captured - refunded), 0) FROM billing.payments WHERE tenant_id = $1 AND purpose = 'order'
"""

_USED = """
SELECT coalesce(sum(l.amount), 0)
FROM billing.invoice_lines AS l JOIN billing.invoices AS i ON i.id = l.invoice_id
WHERE i.tenant_id = $1 AND l.order_id IS NULL
"""

_LEFT_OFF = """
SELECT count(*) FROM billing.charges WHERE tenant_id = $1 AND invoice_id IS NULL AND currency IS NOT NULL
"""

_WRONG_LINES = """
SELECT l.invoice_id, l.number, l.amount, sum(c.worth) / 3600 AS exact
FROM billing.invoice_lines AS l
JOIN billing.charges AS c ON c.invoice_id = l.invoice_id AND c.line_number = l.number
WHERE c.tenant_id = $1
GROUP BY l.invoice_id, l.number, l.amount
HAVING abs(l.amount - sum(c.worth) / 3600) > 0.5
"""

_WRONG_SECONDS = """
SELECT u.run_id, extract(epoch FROM u.stopped_at - u.started_at) AS ran, sum(c.seconds) AS charged
FROM billing.usage_records AS u LEFT JOIN billing.charges AS c ON c.run_id = u.run_id
WHERE u.tenant_id = $1
GROUP BY u.run_id, u.stopped_at, u.started_at
HAVING coalesce(sum(c.seconds), 0) <> extract(epoch FROM u.stopped_at - u.started_at)
"""

_PENDING = "SELECT count(*) FROM billing.transfers WHERE tenant_id = $1 AND state = 'pending'"

_KEPT = """
SELECT o.saga_id FROM billing.subscriptions AS s JOIN billing.orders AS o ON o.id = s.order_id
WHERE s.tenant_id = $1 AND s.state <> 'ended'
"""

_PARK = (
    "UPDATE billing.sagas SET wake_at = '3000-01-01' WHERE wake_at IS NOT NULL",
    "UPDATE billing.payments SET next_look_at = NULL WHERE next_look_at IS NOT NULL",
    "UPDATE billing.refunds SET next_look_at = NULL WHERE next_look_at IS NOT NULL",
    "UPDATE billing.order_refunds SET settled_at = now() WHERE settled_at IS NULL",
    """
    UPDATE billing.subscriptions
    SET period_end = '3000-01-01', auto_renew = true, state = 'active', grace_until = NULL, try_at = NULL
    WHERE state <> 'ended'
    """,
    "DELETE FROM billing.rating_due",
    "DELETE FROM billing.quota_releases",
)

_REST = """
UPDATE billing.subscriptions SET period_end = '3000-01-01', auto_renew = true, state = 'active'
WHERE tenant_id = $1 AND state <> 'ended'
"""

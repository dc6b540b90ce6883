"""Many orders and runs at once, as if they had long been there: nothing is announced, every entity has a version."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.contracts.ledger import TransferKind, TransferState
from cloudphone_shared.database import Database, bump, copy_rows
from cloudphone_shared.ids import uuid7

from . import seed_payments
from .ledger.models import AccountRow, TransferRow
from .ledger.transfers import Account, Posting, of_tenant, wallet
from .models import CopyRow, UsageRow
from .orders import facts
from .orders.fold import STATES, Folded, Happened, fold
from .orders.models import OrderEventRow, OrderRow
from .plans.models import PlanRow, PlanVersionRow
from .seed_payments import SeedPayment
from .seed_sales import Sales, begun, terms, touched


class SeedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`price` in minor units per `period_days` days; `included_hours` of running time per period."""

    id: UUID
    name: str
    price: int
    created_at: datetime
    currency: str = "USD"
    period_days: int = 30
    included_hours: int = 0
    active: bool = True
    grace_days: int = 3
    template_id: UUID | None = None
    rule_id: UUID | None = None


class SeedName(msgspec.Struct, frozen=True, kw_only=True):
    """A user (with an e-mail address) or a device, at the `version` that its owner gives it."""

    id: UUID
    name: str
    version: int
    email: str | None = None


class SeedStep(msgspec.Struct, frozen=True, kw_only=True):
    state: OrderState
    at: datetime
    reason: str = "demo data"


class SeedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """At the plan's price, from the wallet. `steps` begin with pending and follow the order's table; the last one is
    its state."""

    id: UUID
    tenant_id: UUID
    user: SeedName
    plan: SeedPlan
    steps: Sequence[SeedStep]
    device: SeedName | None = None
    payment_id: UUID | None = None


class SeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a device never overlap; `stopped_at` None while it runs. Ids are the caller's, for a repeatable seed."""

    id: UUID
    run_id: UUID
    tenant_id: UUID
    device_id: UUID
    user_id: UUID
    started_at: datetime
    stopped_at: datetime | None = None


class SeedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """`available` and `held` in minor units: what an opening transfer at `opened_at` brought, less what was `paid`."""

    user_id: UUID
    tenant_id: UUID
    available: int
    opened_at: datetime
    held: int = 0
    currency: str = "USD"
    paid: Sequence[SeedPayment] = ()


async def seed(
    database: Database,
    *,
    plans: Sequence[SeedPlan],
    orders: Sequence[SeedOrder],
    runs: Sequence[SeedRun],
    balances: Sequence[SeedBalance],
    sales: Sales = Sales(),  # noqa: B008
) -> None:
    """In one transaction, into a schema that has none of them yet."""
    rows: list[tuple[type[Any], list[dict[str, Any]]]] = [
        *terms(sales),
        (PlanRow, [{**msgspec.structs.asdict(plan), "revision": 1} for plan in plans]),
        (PlanVersionRow, [_version(plan) for plan in plans]),
        (CopyRow, list(_copies(orders))),
        (OrderRow, [_order(order) for order in orders]),
        (OrderEventRow, [event for order in orders for event in _events(order)]),
        *begun(sales),
        *seed_payments.rows([payment for balance in balances for payment in balance.paid]),
        (UsageRow, [_run(run) for run in runs]),
        (AccountRow, list(_accounts(balances))),
        (TransferRow, [row for balance in balances for row in _transfers(balance)]),
    ]
    async with database.writing() as session:
        for table, values in rows:
            await copy_rows(session, table, values)
        await bump(session, *_entities(plans, orders, runs, balances), *touched(sales))


def _run(run: SeedRun) -> dict[str, Any]:
    by = "event" if run.stopped_at else None
    return {**msgspec.structs.asdict(run), "closed_by": by, "told_stopped_at": run.stopped_at, "told_by": by}


def _version(plan: SeedPlan) -> dict[str, Any]:
    terms = {
        name: value for name, value in msgspec.structs.asdict(plan).items() if name not in ("id", "name", "active")
    }
    return {"plan_id": plan.id, "revision": 1, **terms}


def _order(order: SeedOrder) -> dict[str, Any]:
    device = order.device
    return {
        "id": order.id,
        "user_name": order.user.name,
        "user_email": order.user.email,
        "user_version": order.user.version,
        "device_name": device.name if device else None,
        "device_version": device.version if device else 0,
        **msgspec.structs.asdict(_folded(order)),
    }


def _folded(order: SeedOrder) -> Folded:
    return fold(Happened(_fact(order, step), step.at) for step in order.steps)


def _fact(order: SeedOrder, step: SeedStep) -> facts.Fact:
    if step.state == "pending":
        return _placed(order)
    if step.state == "refunded":
        return facts.Refunded(amount=order.plan.price)
    return _BY_STATE[step.state]()


_BY_STATE = {state: fact for fact, state in STATES.items()}


def _placed(order: SeedOrder) -> facts.Placed:
    return facts.Placed(
        tenant_id=order.tenant_id,
        user_id=order.user.id,
        plan_id=order.plan.id,
        plan_revision=1,
        plan_name=order.plan.name,
        kind="purchase",
        parent_id=None,
        list_price=order.plan.price,
        discount=0,
        tax=0,
        amount=order.plan.price,
        credit=0,
        currency=order.plan.currency,
        coupon_code=None,
        payment_method="wallet",
        payment_id=order.payment_id,
        saga_id=None,
        auto_renew=False,
        device_id=order.device.id if order.device else None,
    )


def _events(order: SeedOrder) -> Iterable[dict[str, Any]]:
    for number, step in enumerate(order.steps, 1):
        fact = _fact(order, step)
        yield {
            "order_id": order.id,
            "number": number,
            "type": fact.type,
            "version": fact.version,
            "data": facts.written(fact),
            "state": step.state,
            "reason": step.reason,
            "actor": "seed",
            "at": step.at,
        }


def _copies(orders: Iterable[SeedOrder]) -> Iterable[dict[str, Any]]:
    named = {entities.user(order.user.id): order.user for order in orders}
    named |= {entities.device(order.device.id): order.device for order in orders if order.device}
    for entity, known in named.items():
        yield {"entity": entity, "version": known.version, "name": known.name, "email": known.email}


class _Move(NamedTuple):
    key: str
    kind: TransferKind
    state: TransferState
    postings: Sequence[Posting]
    at: datetime
    reason: str
    reference: str | None = None


def _accounts(balances: Sequence[SeedBalance]) -> Iterator[dict[str, Any]]:
    opened: dict[Account, datetime] = {}
    for balance in balances:
        for move in _moves(balance):
            for account, _ in move.postings:
                opened[account] = min(opened.get(account, move.at), move.at)
    for account, at in opened.items():
        balance = 0 if account.owner_id else None
        yield {"id": account.id, **account._asdict(), "balance": balance, "opened_at": at, "updated_at": at}


def _transfers(balance: SeedBalance) -> Iterator[dict[str, Any]]:
    """Booked by the table's own triggers, as any others are."""
    for move in _moves(balance):
        yield {
            "id": uuid7(),
            "tenant_id": balance.tenant_id,
            "key": move.key,
            "kind": move.kind,
            "state": move.state,
            "currency": balance.currency,
            "user_id": balance.user_id,
            "account_ids": [account.id for account, _ in move.postings],
            "amounts": [amount for _, amount in move.postings],
            "reason": move.reason,
            "reference": move.reference,
            "actor": "seed",
            "created_at": move.at,
            "settled_at": move.at if move.state == "posted" else None,
        }


def _moves(balance: SeedBalance) -> Iterator[_Move]:
    """In the order of their times."""
    of_user = wallet(balance.tenant_id, balance.user_id, balance.currency)
    opening = of_tenant(balance.tenant_id, "opening", balance.currency)
    revenue = of_tenant(balance.tenant_id, "revenue", balance.currency)
    total = balance.available + balance.held + sum(payment.amount for payment in balance.paid)
    yield _Move(
        f"opening:{balance.user_id}:{balance.currency}",
        "opening",
        "posted",
        [Posting(of_user, total), Posting(opening, -total)],
        balance.opened_at,
        "balance at the beginning",
    )
    for payment in sorted(balance.paid, key=lambda payment: payment.at):
        if payment.amount:
            order = f"order:{payment.order_id}"
            postings = [Posting(of_user, -payment.amount), Posting(revenue, payment.amount)]
            yield _Move(order, "purchase", "posted", postings, payment.at, "demo data", order)
    if balance.held:
        postings = [Posting(of_user, -balance.held), Posting(revenue, balance.held)]
        yield _Move(
            f"purchase:{balance.user_id}", "purchase", "pending", postings, balance.opened_at, "held at the beginning"
        )


def _entities(
    plans: Sequence[SeedPlan], orders: Sequence[SeedOrder], runs: Sequence[SeedRun], balances: Sequence[SeedBalance]
) -> set[str]:
    return {
        entities.plans(),
        *(entities.plan(plan.id) for plan in plans),
        *(entities.order(order.id) for order in orders),
        *(entities.orders_of(order.user.id) for order in orders),
        *(entities.usage(run.device_id) for run in runs),
        *(entities.usage_of(run.user_id) for run in runs),
        *(entities.balance(balance.user_id) for balance in balances),
    }

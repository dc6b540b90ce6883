"""Subscriptions go on, or end: what the worker does in rounds, and what a customer asks for.

A period is renewed once, however many try: whoever renews holds the subscription's row, the renewal's order is named
after the period, and the database refuses terms that overlap. What is paid and what it is paid for are one
transaction. A clock that leaps, or a worker that was long away, costs a customer one period at most: what was missed
is not charged afterwards.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, and_, exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, DomainError, InsufficientFunds, StateConflict

from ..invoices.taxes import rate_for, tax_in
from ..ledger.models import AccountRow
from ..plans import service as plans
from ..plans.models import PlanRow, PlanVersionRow
from . import facts, service, subscriptions
from .models import OrderRow, SubscriptionRow
from .names import known
from .paying import pay

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TRY_AGAIN = timedelta(days=1)
"""After a renewal that could not be paid; earlier when the wallet holds enough."""
BATCH = 100
NOT_PAID = "the renewal was not paid"
NOT_RENEWED = "it was not to be renewed"
RENEWER = "renewal"

Renewal = Callable[[AsyncSession, OrderRow, SubscriptionRow, datetime], Awaitable[bool]]


async def renew_due(database: Database, now: datetime) -> int:
    """Renews what has come to its end, or lets it into grace. How many changed, at most `BATCH`."""
    return await _each(database, _to_renew(now), now, _renew_or_wait)


async def end_overdue(database: Database, now: datetime) -> int:
    """Ends what nobody renews: at the end of its period, or of its grace. How many, at most `BATCH`."""
    return await _each(database, _to_end(now), now, _end)


async def renew(
    session: AsyncSession, purchase: OrderRow, subscription: SubscriptionRow, at: datetime, actor: str
) -> OrderRow:
    """The next period, at the plan's present version and price, from the wallet. Purchase and subscription are
    locked.

    Raises InsufficientFunds, StateConflict for one that has ended, Conflict for one whose period lasts.
    """
    if subscription.state == "ended":
        raise StateConflict("The subscription has ended", current_state="ended", allowed=[])
    if at < subscription.period_end:
        raise Conflict("The present period lasts", period_end=subscription.period_end.isoformat())
    offer = await plans.kept(session, subscription.plan_id)
    version = offer.version
    person, phone = await known(session, purchase)
    tax = tax_in(version.price, await rate_for(session, purchase.tenant_id, purchase.user_id, at))
    order_id, payment_id = _named(subscription, "order"), _named(subscription, "payment")
    placed = facts.Placed(
        tenant_id=purchase.tenant_id, user_id=purchase.user_id, plan_id=version.plan_id,
        plan_revision=version.revision, plan_name=offer.name, kind="renewal", parent_id=purchase.id,
        list_price=version.price, discount=0, tax=tax, amount=version.price, credit=0, currency=version.currency,
        coupon_code=None, payment_method="wallet", payment_id=payment_id, saga_id=None, auto_renew=True,
        device_id=subscription.device_id,
    )  # fmt: skip
    order = await service.open_order(session, order_id, placed, person, phone, actor=actor, at=at)
    await _next_period(session, subscription, order, version, at)
    done = facts.Completed(period_end=subscription.period_end)
    await service.pass_through(session, order, done, actor, at)
    await subscriptions.announce_change(session, subscription, "renewed")
    await pay(session, order, key=f"renewal:{order.id}", actor=actor, at=at)
    return order


async def _next_period(
    session: AsyncSession, subscription: SubscriptionRow, order: OrderRow, version: PlanVersionRow, at: datetime
) -> None:
    start = subscription.period_end
    if subscriptions.end_of_period(start, version) <= at:
        start = at
    subscription.period_start, subscription.period_end = start, subscriptions.end_of_period(start, version)
    subscription.plan_revision = version.revision
    subscription.paid_by, subscription.worth = order.id, order.amount
    subscription.state, subscription.grace_until, subscription.try_at = "active", None, None
    await subscriptions.add_term(session, subscription, order, start)


async def _renew_or_wait(
    session: AsyncSession, purchase: OrderRow, subscription: SubscriptionRow, now: datetime
) -> bool:
    try:
        async with session.begin_nested():
            await renew(session, purchase, subscription, now, RENEWER)
            return True
    except InsufficientFunds as refusal:
        # What the savepoint took back is unknown to the objects until they are read again.
        await session.refresh(subscription)
        log.info("renewal_not_paid", subscription_id=str(subscription.id), needed=refusal.members.get("needed"))
    begins = subscription.state == "active"
    if begins:
        version = await plans.version_of(session, subscription.plan_id, subscription.plan_revision)
        subscription.state = "grace"
        subscription.grace_until = subscription.period_end + timedelta(days=version.grace_days)
    subscription.try_at = now + TRY_AGAIN
    if begins:
        await subscriptions.announce_change(session, subscription, NOT_PAID)
    return begins


async def _end(session: AsyncSession, purchase: OrderRow, subscription: SubscriptionRow, now: datetime) -> bool:
    reason = NOT_PAID if subscription.state == "grace" and subscription.auto_renew else NOT_RENEWED
    await subscriptions.end(session, subscription, purchase, reason, now)
    return True


def _to_renew(now: datetime) -> ColumnElement[bool]:
    enough = (
        select(AccountRow.id)
        .where(
            AccountRow.kind == "wallet",
            AccountRow.tenant_id == SubscriptionRow.tenant_id,
            AccountRow.owner_id == SubscriptionRow.user_id,
            AccountRow.currency == PlanRow.currency,
            AccountRow.balance - AccountRow.held >= PlanRow.price,
            PlanRow.id == SubscriptionRow.plan_id,
        )
        .exists()
    )
    in_time = and_(SubscriptionRow.state == "active", SubscriptionRow.period_end <= now)
    again = and_(
        SubscriptionRow.state == "grace",
        SubscriptionRow.period_end <= now,
        SubscriptionRow.grace_until > now,
        or_(SubscriptionRow.try_at <= now, enough),
    )
    return and_(SubscriptionRow.auto_renew, or_(in_time, again))


def _to_end(now: datetime) -> ColumnElement[bool]:
    over = and_(
        SubscriptionRow.state == "active", SubscriptionRow.period_end <= now, SubscriptionRow.auto_renew.is_(False)
    )
    unpaid = and_(
        SubscriptionRow.state == "grace",
        or_(SubscriptionRow.grace_until <= now, SubscriptionRow.auto_renew.is_(False)),
    )
    return or_(over, unpaid)


async def _each(database: Database, due: ColumnElement[bool], now: datetime, do: Renewal) -> int:
    """Each in a transaction of its own, so that one that cannot be done keeps no other waiting."""
    asked = select(SubscriptionRow.id, SubscriptionRow.order_id).where(due).order_by(SubscriptionRow.period_end)
    async with database.reading() as session:
        found = (await session.execute(asked.limit(BATCH))).all()
    done = 0
    for subscription_id, order_id in found:
        try:
            async with database.writing() as session:
                done += await _one(session, subscription_id, order_id, due, now, do)
        except DomainError as refusal:
            log.error("subscription_round_refused", subscription_id=str(subscription_id), reason=str(refusal))
    return done


async def _one(
    session: AsyncSession, subscription_id: UUID, order_id: UUID, due: ColumnElement[bool], now: datetime, do: Renewal
) -> bool:
    """Unless another round has it, or had it."""
    if not await session.scalar(_TRY_LOCK, {"name": f"billing subscription {subscription_id}"}):
        return False
    _, purchase, subscription = await subscriptions.locked_with(session, order_id)
    still = await session.scalar(select(exists().where(SubscriptionRow.id == subscription_id, due)))
    return bool(still) and subscription is not None and await do(session, purchase, subscription, now)


_TRY_LOCK: Any = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


def _named(subscription: SubscriptionRow, what: str) -> UUID:
    """After the period it is for: a second renewal of it would be the same order."""
    period = f"{what} {subscription.id} {subscription.period_end.isoformat()}"
    return UUID(bytes=sha256(period.encode()).digest()[:16], version=5)

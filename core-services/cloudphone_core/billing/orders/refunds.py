"""Money given back of completed orders. In the caller's transaction; to a card it goes later, and `follow_refunds`
notes when it went."""

from datetime import datetime
from fractions import Fraction
from math import ceil

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.purchase import OrderRefund
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, StateConflict

from ..payments.models import PaymentRow, RefundRow
from ..payments.refunds import request_refund
from ..states import STEPS
from . import facts, subscriptions
from .history import append
from .models import OrderRefundRow, OrderRow, SubscriptionRow
from .plan_changes import going_back
from .service import announce_step

log: structlog.stdlib.BoundLogger = structlog.get_logger()

REFUNDABLE = "completed", "refunding"
"""One that is being refunded may be again, once the provider refused the first try."""
BATCH = 100


async def refund(
    session: AsyncSession,
    purchase: OrderRow,
    order: OrderRow,
    subscription: SubscriptionRow | None,
    wanted: OrderRefund,
    *,
    actor: str,
    at: datetime,
) -> None:
    """All that is left ends the order, and its subscription if it paid for the present period; the device goes back.

    `purchase` is `order` itself or what it goes on from; both and the subscription are locked. Raises StateConflict
    unless the order is completed, Conflict for more than is left of it.
    """
    if order.state not in REFUNDABLE:
        raise StateConflict(
            f"An order that is {order.state} has nothing to give back",
            current_state=order.state,
            allowed=list(STEPS[order.state]),
        )
    going = (await going_back(session, [order.id])).get(order.id, 0)
    left = order.amount - order.refunded
    if order.state == "refunding" and going:
        raise Conflict("The refund is under way")
    if wanted.amount is not None and wanted.amount > left - going:
        raise Conflict("More than is left of the order", refundable=left - going, currency=order.currency)
    whole = order.state == "refunding" or wanted.amount is None or wanted.amount == left
    if not whole:
        await _give_back(
            session, order, subscription, wanted.amount or 0, wanted.reason, whole=False, actor=actor, at=at
        )
        return
    if going:
        raise Conflict("A part is on its way back: the rest can be refunded once it is there")
    if subscription is not None and subscription.state != "ended" and subscription.paid_by == order.id:
        await subscriptions.end(session, subscription, purchase, "the order was refunded", at)
    await _give_back(session, order, subscription, left, wanted.reason, whole=True, actor=actor, at=at)


async def follow_refunds(database: Database, now: datetime) -> int:
    """Notes on orders which of their refunds went, or will not. How many, at most `BATCH`."""
    settled = (
        select(OrderRefundRow.refund_id, OrderRefundRow.order_id)
        .join(RefundRow, RefundRow.id == OrderRefundRow.refund_id)
        .where(OrderRefundRow.settled_at.is_(None), RefundRow.state.in_(("success", "failed")))
        .limit(BATCH)
    )
    async with database.reading() as session:
        found = (await session.execute(settled)).all()
    for refund_id, order_id in found:
        async with database.writing() as session:
            order, _, subscription = await subscriptions.locked_with(session, order_id)
            noted = await session.get_one(OrderRefundRow, refund_id, with_for_update=True)
            gone = await session.get_one(RefundRow, refund_id)
            if noted.settled_at is None:
                await _settle(session, order, subscription, noted, gone, "the provider", now)
    return len(found)


async def _give_back(
    session: AsyncSession,
    order: OrderRow,
    subscription: SubscriptionRow | None,
    amount: int,
    reason: str,
    *,
    whole: bool,
    actor: str,
    at: datetime,
) -> None:
    if not amount:
        await _note(session, order, facts.RefundBegun(), reason, actor, at)
        await _note(session, order, facts.Refunded(amount=0), "there was nothing to give back", actor, at)
        return
    payment = await session.scalar(
        select(PaymentRow).where(PaymentRow.order_id == order.id, PaymentRow.captured > 0).with_for_update()
    )
    if payment is None:
        raise Conflict("The order was not paid here: there is nothing to give back")
    asked = await request_refund(session, payment, amount, reason, actor, at)
    noted = OrderRefundRow(refund_id=asked.id, order_id=order.id, amount=amount, whole=whole, requested_at=at)
    session.add(noted)
    if whole:
        await _note(session, order, facts.RefundBegun(refund_id=asked.id, amount=amount), reason, actor, at)
    if asked.state == "success":
        await _settle(session, order, subscription, noted, asked, actor, at)


async def _settle(
    session: AsyncSession,
    order: OrderRow,
    subscription: SubscriptionRow | None,
    noted: OrderRefundRow,
    gone: RefundRow,
    actor: str,
    at: datetime,
) -> None:
    noted.settled_at = at
    if gone.state == "failed":
        log.error("order_refund_failed", order_id=str(order.id), refund_id=str(gone.id), failure=gone.failure)
        return
    fact = (facts.Refunded if noted.whole else facts.PartlyRefunded)(refund_id=gone.id, amount=noted.amount)
    await _note(session, order, fact, gone.reason, actor, at)
    if subscription is not None and subscription.state != "ended":
        _count_less(subscription, order, noted.amount)


def _count_less(subscription: SubscriptionRow, order: OrderRow, amount: int) -> None:
    """What went back was not paid for the period: a change of plan does not give it back again."""
    if subscription.paid_by == order.id:
        subscription.worth = max(0, subscription.worth - amount)
    elif order.kind == "plan-change" and order.created_at >= subscription.period_start:
        whole = int((subscription.period_end - subscription.period_start).total_seconds())
        rest = max(1, int((subscription.period_end - order.created_at).total_seconds()))
        subscription.worth = max(0, subscription.worth - ceil(Fraction(amount * whole, rest)))


async def _note(
    session: AsyncSession, order: OrderRow, fact: facts.Fact, reason: str, actor: str, at: datetime
) -> None:
    before = order.state
    await append(session, order, fact, reason, actor, at)
    await announce_step(session, order, before, reason)

"""What a completed order gives for a time. Each use case works in the caller's transaction."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database import announce
from cloudphone_shared.events.billing import SubscriptionChanged
from cloudphone_shared.ids import uuid7

from .. import allocation
from ..plans.models import PlanVersionRow
from .models import OrderRow, QuotaReleaseRow, SubscriptionRow, SubscriptionTermRow
from .names import known


def end_of_period(start: datetime, version: PlanVersionRow) -> datetime:
    return start + timedelta(days=version.period_days)


async def begin(session: AsyncSession, order: OrderRow, version: PlanVersionRow, at: datetime) -> SubscriptionRow:
    subscription = SubscriptionRow(
        id=uuid7(),
        order_id=order.id,
        tenant_id=order.tenant_id,
        user_id=order.user_id,
        device_id=order.device_id,
        plan_id=order.plan_id,
        plan_revision=order.plan_revision,
        state="active",
        period_start=at,
        period_end=end_of_period(at, version),
        paid_by=order.id,
        worth=order.amount,
        auto_renew=order.auto_renew,
        created_at=at,
    )
    session.add(subscription)
    await session.flush()
    await add_term(session, subscription, order, at)
    await announce_change(session, subscription, "begun")
    return subscription


async def end(
    session: AsyncSession, subscription: SubscriptionRow, purchase: OrderRow, reason: str, at: datetime
) -> None:
    """For good: the device goes back, and what the user may have is free for something else."""
    subscription.state, subscription.ended_at, subscription.end_reason = "ended", at, reason
    subscription.grace_until = subscription.try_at = None
    subscription.auto_renew = False
    await cut_term(session, subscription, at)
    await allocation.give_back(session, purchase, reason, at)
    await _release_quota(session, purchase, at)
    await announce_change(session, subscription, reason)


async def renew_or_not(session: AsyncSession, subscription: SubscriptionRow, *, wanted: bool) -> None:
    """Whether it goes on after its period; one in grace that is not to go on ends with the next round."""
    if subscription.auto_renew != wanted:
        subscription.auto_renew = wanted
        await announce_change(session, subscription, "to be renewed" if wanted else "not to be renewed")


async def locked_with(session: AsyncSession, order_id: UUID) -> tuple[OrderRow, OrderRow, SubscriptionRow | None]:
    """An order, the purchase it goes on from (itself, if it is one), and the subscription that the purchase began:
    locked, after the copies that name them."""
    seen = await session.get_one(OrderRow, order_id)
    purchase = await session.get_one(OrderRow, seen.parent_id or order_id)
    await known(session, purchase)
    # The purchase first: whatever changes the subscription or an order of it waits here.
    await session.refresh(purchase, with_for_update=True)
    await session.refresh(seen, with_for_update=True)
    asked = select(SubscriptionRow).where(SubscriptionRow.order_id == purchase.id).with_for_update()
    found = (await session.scalars(asked.execution_options(populate_existing=True))).one_or_none()
    return seen, purchase, found


async def add_term(session: AsyncSession, subscription: SubscriptionRow, order: OrderRow, start: datetime) -> None:
    """From `start` until the end of the subscription's period, at the subscription's plan."""
    last = await session.scalar(
        select(func.max(SubscriptionTermRow.number)).where(SubscriptionTermRow.subscription_id == subscription.id)
    )
    session.add(
        SubscriptionTermRow(
            subscription_id=subscription.id,
            number=(last or 0) + 1,
            order_id=order.id,
            plan_id=subscription.plan_id,
            plan_revision=subscription.plan_revision,
            starts_at=start,
            ends_at=subscription.period_end,
        )
    )


async def announce_change(session: AsyncSession, subscription: SubscriptionRow, reason: str) -> None:
    event = SubscriptionChanged(
        subscription_id=subscription.id,
        order_id=subscription.order_id,
        user_id=subscription.user_id,
        state=subscription.state,
        reason=reason,
        period_end=subscription.period_end,
        tenant_id=subscription.tenant_id,
    )
    await announce(session, event, entities.order(subscription.order_id))


async def cut_term(session: AsyncSession, subscription: SubscriptionRow, at: datetime) -> None:
    last = (
        select(SubscriptionTermRow)
        .where(SubscriptionTermRow.subscription_id == subscription.id)
        .order_by(SubscriptionTermRow.number.desc())
        .limit(1)
    )
    term = (await session.scalars(last)).one()
    term.ends_at = max(term.starts_at, min(term.ends_at, at))


async def _release_quota(session: AsyncSession, purchase: OrderRow, at: datetime) -> None:
    """Asked of the user service once this is committed, and until it answers."""
    if purchase.saga_id is not None:
        wanted = insert(QuotaReleaseRow).values(reservation_id=purchase.saga_id, due_at=at, attempts=0)
        await session.execute(wanted.on_conflict_do_nothing())

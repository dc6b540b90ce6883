"""A subscription's change to another plan: what is left of the period is charged or credited by the second."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.purchase import PlanChangeQuote
from cloudphone_shared.errors import Conflict, StateConflict
from cloudphone_shared.ids import uuid7

from ..invoices.taxes import rate_for, tax_in
from ..ledger import transfers
from ..ledger.transfers import Posting
from ..plans import service as plans
from ..plans.models import PlanVersionRow
from . import facts, service, subscriptions
from .history import append
from .models import OrderRefundRow, OrderRow, SubscriptionRow
from .names import known
from .paying import pay


def rest_worth(price: int, start: datetime, end: datetime, at: datetime) -> int:
    """What is left at `at` of a period that costs `price`: by the second, rounded half-even to whole minor units."""
    whole, left = int((end - start).total_seconds()), int((end - at).total_seconds())
    if not 0 <= left <= whole:
        raise ValueError(f"{at} is not within the period")
    # Python rounds a fraction half-even, and exactly.
    return round(Fraction(price * left, whole))


def difference(worth: int, price: int, start: datetime, end: datetime, at: datetime, *, paid: int) -> int:
    """To be paid for going on at `price` where the period counts as having cost `worth`; negative: what comes back,
    which is never more than what was `paid`."""
    return max(rest_worth(price, start, end, at) - rest_worth(worth, start, end, at), -paid)


async def quote(session: AsyncSession, subscription: SubscriptionRow, plan_id: UUID, at: datetime) -> PlanChangeQuote:
    """Raises what the change would raise, but for money that is missing."""
    version = (await plans.offered(session, plan_id)).version
    await _check(session, subscription, version, at)
    paid = sum(left for _, left in await _paid(session, subscription))
    amount = _amount(subscription, version, at, paid)
    return PlanChangeQuote(
        subscription_id=subscription.id,
        plan_id=plan_id,
        amount=amount,
        currency=version.currency,
        at=at,
        period_end=subscription.period_end,
    )


async def change_plan(
    session: AsyncSession, purchase: OrderRow, subscription: SubscriptionRow, plan_id: UUID, *, actor: str, at: datetime
) -> OrderRow:
    """Purchase and subscription are locked.

    Raises NotFound for an unknown plan; Conflict for one that is withdrawn, or of another currency, period or kind of
    device; StateConflict unless the subscription is active; InsufficientFunds.
    """
    offer = await plans.offered(session, plan_id)
    version = offer.version
    await _check(session, subscription, version, at)
    funded = await _paid(session, subscription, lock=True)
    amount = _amount(subscription, version, at, sum(left for _, left in funded))
    charge, credit = max(amount, 0), max(-amount, 0)
    person, phone = await known(session, purchase)
    rate = await rate_for(session, purchase.tenant_id, purchase.user_id, at)
    placed = facts.Placed(
        tenant_id=purchase.tenant_id, user_id=purchase.user_id, plan_id=plan_id, plan_revision=version.revision,
        plan_name=offer.name, kind="plan-change", parent_id=purchase.id, list_price=charge, discount=0,
        tax=tax_in(charge, rate), amount=charge, credit=credit, currency=version.currency, coupon_code=None,
        payment_method="wallet", payment_id=uuid7() if charge else None, saga_id=None,
        auto_renew=subscription.auto_renew, device_id=subscription.device_id,
    )  # fmt: skip
    order = await service.open_order(session, uuid7(), placed, person, phone, actor=actor, at=at)
    await _go_over(session, subscription, order, version, at)
    await service.pass_through(session, order, facts.Completed(period_end=subscription.period_end), actor, at)
    await subscriptions.announce_change(session, subscription, "changed")
    if charge:
        await pay(session, order, key=f"plan-change:{order.id}", actor=actor, at=at)
    elif credit:
        await _give_credit(session, order, funded, actor, at)
    return order


def _amount(subscription: SubscriptionRow, version: PlanVersionRow, at: datetime, paid: int) -> int:
    start, end = subscription.period_start, subscription.period_end
    return difference(subscription.worth, version.price, start, end, at, paid=paid)


async def _check(session: AsyncSession, subscription: SubscriptionRow, version: PlanVersionRow, at: datetime) -> None:
    if subscription.state != "active":
        raise StateConflict(
            f"A subscription that is {subscription.state} changes no plan",
            current_state=subscription.state,
            allowed=[],
        )
    if not subscription.period_start <= at < subscription.period_end:
        raise Conflict("The period is over: it is renewed first", period_end=subscription.period_end.isoformat())
    present = await plans.version_of(session, subscription.plan_id, subscription.plan_revision)
    if (present.plan_id, present.revision) == (version.plan_id, version.revision):
        raise Conflict("The subscription is at this plan already")
    if present.currency != version.currency:
        raise Conflict("The plan is sold in another currency", currency=present.currency)
    if present.period_days != version.period_days:
        raise Conflict("The plan is for another period", period_days=present.period_days)
    if version.template_id not in (None, present.template_id):
        raise Conflict("The plan is for another kind of device")


async def _paid(
    session: AsyncSession, subscription: SubscriptionRow, *, lock: bool = False
) -> Sequence[tuple[OrderRow, int]]:
    """The orders that paid for the present period, newest first, and what of each neither went back nor is going."""
    of_period = or_(
        OrderRow.id == subscription.paid_by,
        (OrderRow.parent_id == subscription.order_id)
        & (OrderRow.kind == "plan-change")
        & (OrderRow.created_at >= subscription.period_start),
    )
    asked = select(OrderRow).where(of_period, OrderRow.state == "completed").order_by(OrderRow.created_at.desc())
    if lock:
        asked = asked.with_for_update().execution_options(populate_existing=True)
    orders = (await session.scalars(asked)).all()
    going = await going_back(session, [order.id for order in orders])
    return [(order, order.amount - order.refunded - going.get(order.id, 0)) for order in orders]


async def going_back(session: AsyncSession, order_ids: Sequence[UUID]) -> dict[UUID, int]:
    """What refunds under way take of each order."""
    asked = select(OrderRefundRow).where(OrderRefundRow.order_id.in_(order_ids), OrderRefundRow.settled_at.is_(None))
    sums: dict[UUID, int] = {}
    for refund in await session.scalars(asked):
        sums[refund.order_id] = sums.get(refund.order_id, 0) + refund.amount
    return sums


async def _go_over(
    session: AsyncSession, subscription: SubscriptionRow, order: OrderRow, version: PlanVersionRow, at: datetime
) -> None:
    await subscriptions.cut_term(session, subscription, at)
    subscription.plan_id, subscription.plan_revision = version.plan_id, version.revision
    subscription.worth = version.price
    await session.flush()
    await subscriptions.add_term(session, subscription, order, at)


async def _give_credit(
    session: AsyncSession, order: OrderRow, funded: Sequence[tuple[OrderRow, int]], actor: str, at: datetime
) -> None:
    """To the wallet, out of what the period's orders took, newest first; each notes its part, so that no refund gives
    it back again."""
    left, tax = order.credit, 0
    for paid, takes in funded:
        if part := min(left, takes):
            left -= part
            tax += round(Decimal(part) * paid.tax / paid.amount)
            await append(session, paid, facts.Credited(by=order.id, amount=part), "change of plan", actor, at)
            await service.announce_step(session, paid, paid.state, "change of plan")
    purse = transfers.wallet(order.tenant_id, order.user_id, order.currency)
    revenue = transfers.of_tenant(order.tenant_id, "revenue", order.currency)
    taxes = transfers.of_tenant(order.tenant_id, "tax", order.currency)
    postings = [Posting(purse, order.credit), Posting(revenue, tax - order.credit), Posting(taxes, -tax)]
    await transfers.transfer(
        session, key=f"plan-change:{order.id}", kind="plan-change",
        postings=[posting for posting in postings if posting.amount], reason="Change of plan",
        reference=f"order:{order.id}", actor=actor, at=at,
    )  # fmt: skip

"""The orders that a customer is to be invoiced for: those whose money was taken, and what was given back of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from cloudphone_shared.contracts.billing import OrderKind, OrderState

from ..orders.models import OrderEventRow, OrderRow
from ..payments.models import RefundRow
from ..plans.models import PlanRow
from .bill_to import Customer
from .lines import Bought, GivenBack
from .models import InvoiceLineRow
from .taxes import rate_for

TAKEN: tuple[OrderState, ...] = ("paid", "completed", "refunding", "refunded")
"""The states of an order whose money was taken."""
_SAYS: Mapping[OrderKind, str] = {
    "purchase": "Plan {}", "renewal": "Plan {}, renewed", "plan-change": "Change to plan {}",
}  # fmt: skip


def not_invoiced() -> ColumnElement[bool]:
    """Of an order: that no invoice has it."""
    on_invoice = exists().where(InvoiceLineRow.order_id == OrderRow.id, InvoiceLineRow.kind == "plan")
    return ~on_invoice


def paid_at() -> ColumnElement[datetime]:
    """When an order's money was taken."""
    return (
        select(OrderEventRow.at)
        .where(OrderEventRow.order_id == OrderRow.id, OrderEventRow.state == "paid")
        .order_by(OrderEventRow.number)
        .limit(1)
        .scalar_subquery()
    )


async def bought_by(session: AsyncSession, who: Customer, until: datetime) -> list[Bought]:
    """Orders paid before `until` that are on no invoice."""
    at = paid_at()
    statement = (
        select(OrderRow, PlanRow.name, at)
        .join(PlanRow, PlanRow.id == OrderRow.plan_id)
        .where(
            OrderRow.tenant_id == who.tenant_id,
            OrderRow.user_id == who.user_id,
            OrderRow.state.in_(TAKEN),
            OrderRow.created_at < until,
            at < until,
            not_invoiced(),
        )
    )
    rows = (await session.execute(statement)).all()
    given = await given_back(session, [order.id for order, _, _ in rows])
    percents: dict[datetime, Decimal] = {}
    for order, _, _ in rows:
        if order.created_at not in percents:
            percents[order.created_at] = await rate_for(session, who.tenant_id, who.user_id, order.created_at)
    return [
        Bought(
            order_id=order.id,
            device_id=order.device_id,
            currency=order.currency,
            description=_SAYS[order.kind].format(plan),
            discounted_by=f"Coupon {order.coupon_code}" if order.coupon_code else "Discount",
            list_price=order.list_price,
            discount=order.discount,
            tax_percent=percents[order.created_at],
            tax=order.tax,
            credit=order.credit,
            at=taken_at,
            given_back=given[order.id],
        )
        for order, plan, taken_at in rows
    ]


async def given_back(session: AsyncSession, order_ids: Sequence[UUID]) -> Mapping[UUID, list[GivenBack]]:
    """The refunds of orders that went through and are on no invoice or credit note, in their order."""
    found: defaultdict[UUID, list[GivenBack]] = defaultdict(list)
    if not order_ids:
        return found
    rows = await session.scalars(
        select(RefundRow)
        .where(RefundRow.order_id.in_(order_ids), *refund_not_invoiced())
        .order_by(RefundRow.created_at, RefundRow.id)
    )
    for row in rows:
        if row.order_id is not None:
            found[row.order_id].append(
                GivenBack(
                    refund_id=row.id,
                    order_id=row.order_id,
                    amount=row.amount,
                    tax=row.tax,
                    reason=row.reason,
                    at=row.updated_at,
                )
            )
    return found


def refund_not_invoiced() -> tuple[ColumnElement[bool], ...]:
    line = aliased(InvoiceLineRow)
    return RefundRow.state == "success", ~exists().where(line.refund_id == RefundRow.id)

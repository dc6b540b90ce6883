"""What a customer is to be invoiced for: orders whose money was taken, what was given back of them, and usage."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import OrderKind, OrderState

from ..models import CopyRow
from ..orders.models import OrderEventRow, OrderRow
from ..payments.models import RefundRow
from ..plans.models import PlanRow
from ..rating.charges import open_charges
from ..rating.models import ChargeRow, RuleRow
from .bill_to import Customer
from .lines import Bought, GivenBack, Used
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
    statement: Select[Any] = (
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
    rows: Sequence[tuple[OrderRow, str, datetime]] = (await session.execute(statement)).tuples().all()
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
        .where(RefundRow.order_id == any_(list(order_ids)), *refund_not_invoiced())
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
    return RefundRow.state == "success", ~exists().where(InvoiceLineRow.refund_id == RefundRow.id)


async def used_by(session: AsyncSession, user_id: UUID, until: datetime) -> list[Used]:
    """Usage that was over by `until` and is on no invoice, per device and rule. Nobody else invoices it before the
    transaction ends."""
    charges = await open_charges(session, user_id, until)
    groups: defaultdict[tuple[Any, ...], list[ChargeRow]] = defaultdict(list)
    for charge in charges:
        key = charge.device_id, charge.rule_id, charge.currency, charge.included, charge.correction
        groups[key].append(charge)
    devices = await _names_of_devices(session, {key[0] for key in groups})
    rules = await _names_of_rules(session, {key[1] for key in groups if key[1]})
    return [
        Used(
            device_id=device_id,
            rule_id=rule_id,
            currency=currency,
            description=_described(devices.get(device_id), rules.get(rule_id), included, correction),
            seconds=sum(charge.seconds for charge in group),
            worth=sum((charge.worth for charge in group), Decimal(0)),
            corrects=correction,
            first=min(charge.started_at for charge in group),
            charge_ids=[charge.id for charge in group],
        )
        for (device_id, rule_id, currency, included, correction), group in groups.items()
    ]


def _described(device: str | None, rule: str | None, included: bool, correction: bool) -> str:
    what = "hours of the plan" if included else rule or "running time"
    return f"{device or 'Device'} · {what}" + (", corrected" if correction else "")


async def _names_of_devices(session: AsyncSession, device_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = {entities.device(device_id): device_id for device_id in device_ids}
    if not wanted:
        return {}
    rows = await session.execute(select(CopyRow.entity, CopyRow.name).where(CopyRow.entity == any_(list(wanted))))
    return {wanted[entity]: name for entity, name in rows}


async def _names_of_rules(session: AsyncSession, rule_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = list(rule_ids)
    if not wanted:
        return {}
    rows = await session.execute(select(RuleRow.id, RuleRow.name).where(RuleRow.id == any_(wanted)))
    return {rule_id: name for rule_id, name in rows}

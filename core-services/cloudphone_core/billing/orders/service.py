"""What happens to orders: one function per use case, in the caller's transaction, which commits it or nothing.

Each appends a fact, and the order's row becomes what the facts say. Rows are locked in this order: copies, plan,
coupon, order, subscription.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import NotFound, StateConflict
from cloudphone_shared.events.billing import OrderCreated, OrderDeviceBound, OrderStateChanged
from cloudphone_shared.http.preconditions import check_version

from ..invoices.taxes import rate_for, tax_in
from ..models import CopyRow
from ..plans import coupons, pricing
from ..plans import service as plans
from ..states import STEPS, check_step
from . import facts, subscriptions
from .history import append
from .models import OrderRow
from .names import name_device, newest, newest_device

PURCHASE = "purchase"
"""Who does what the purchase does by itself."""


async def place(
    session: AsyncSession,
    *,
    order_id: UUID,
    saga_id: UUID | None,
    plan_id: UUID,
    user: User,
    device: Device | None,
    coupon_code: str | None,
    payment_method: PaymentMethod,
    auto_renew: bool,
    payment_id: UUID | None = None,
    actor: str,
    at: datetime,
) -> OrderRow:
    """A pending order at the price of the plan's present version; a coupon's use is counted.

    Raises NotFound for an unknown plan, Conflict for one that is no longer offered and for a coupon that is not valid.
    """
    # Copies are locked first, as they are when their owner announces a new name.
    person = await newest(session, entities.user(user.id), user.version, user.name, user.email)
    phone = await newest_device(session, device) if device else None
    offer = await plans.offered(session, plan_id)
    version = offer.version
    coupon = None
    if coupon_code is not None:
        coupon = await coupons.hold(session, coupon_code, version, user.id, order_id, at)
    price = pricing.price(version.price, version.currency, coupon)
    placed = facts.Placed(
        tenant_id=user.tenant_id,
        user_id=user.id,
        plan_id=plan_id,
        plan_revision=version.revision,
        plan_name=offer.name,
        kind="purchase",
        parent_id=None,
        list_price=price.list_price,
        discount=price.discount,
        tax=tax_in(price.amount, await rate_for(session, user.tenant_id, user.id, at)),
        amount=price.amount,
        credit=0,
        currency=price.currency,
        coupon_code=coupon_code,
        payment_method=payment_method,
        payment_id=payment_id,
        saga_id=saga_id,
        auto_renew=auto_renew,
        device_id=device.id if device else None,
    )
    return await open_order(session, order_id, placed, person, phone, actor=actor, at=at)


async def open_order(
    session: AsyncSession,
    order_id: UUID,
    placed: facts.Placed,
    person: CopyRow,
    phone: CopyRow | None,
    *,
    actor: str,
    at: datetime,
) -> OrderRow:
    order = OrderRow(
        id=order_id, user_name=person.name, user_email=person.email, user_version=person.version, device_version=0
    )
    name_device(order, phone)
    await append(session, order, placed, "ordered", actor, at)
    event = OrderCreated(
        order_id=order.id,
        user_id=order.user_id,
        amount=order.amount,
        currency=order.currency,
        tenant_id=order.tenant_id,
    )
    await announce(session, event, entities.order(order.id), entities.orders_of(order.user_id))
    return order


async def pass_through(session: AsyncSession, order: OrderRow, done: facts.Completed, actor: str, at: datetime) -> None:
    """An order that needs nobody else, from pending to completed in this transaction; what it was paid with is moved
    in it too."""
    steps = ((facts.ProvisioningBegun(), "being provisioned"), (facts.Paid(), "paid"), (done, "completed"))
    for fact, reason in steps:
        await append(session, order, fact, reason, actor, at)
    await announce_step(session, order, "pending", "completed")


async def announce_step(session: AsyncSession, order: OrderRow, before: OrderState, reason: str) -> None:
    event = OrderStateChanged(
        order_id=order.id,
        user_id=order.user_id,
        old_state=before,
        new_state=order.state,
        reason=reason,
        tenant_id=order.tenant_id,
    )
    await announce(session, event, entities.order(order.id))


async def begin_provisioning(session: AsyncSession, order: OrderRow, at: datetime, *, actor: str = PURCHASE) -> None:
    await _take(session, order, facts.ProvisioningBegun(), "being provisioned", actor, at)


async def bind_device(
    session: AsyncSession, order: OrderRow, device_id: UUID, copy: CopyRow | None, *, actor: str, at: datetime
) -> None:
    """To an order that waits for one. Without a copy the name follows when the device's owner announces it."""
    name_device(order, copy)
    await append(session, order, facts.DeviceBound(device_id=device_id), "device allocated", actor, at)
    event = OrderDeviceBound(order_id=order.id, user_id=order.user_id, device_id=device_id, tenant_id=order.tenant_id)
    await announce(session, event, entities.order(order.id))


async def mark_paid(session: AsyncSession, order: OrderRow, at: datetime, *, actor: str = PURCHASE) -> None:
    await _take(session, order, facts.Paid(), "paid", actor, at)


async def complete(
    session: AsyncSession, order: OrderRow, at: datetime, *, reason: str = "completed", actor: str = PURCHASE
) -> None:
    """Begins the subscription; a coupon's use is for good."""
    check_step(order.state, "completed")
    await coupons.use(session, order.id, at)
    version = await plans.version_of(session, order.plan_id, order.plan_revision)
    fact = facts.Completed(period_end=subscriptions.end_of_period(at, version))
    await _take(session, order, fact, reason, actor, at)
    await subscriptions.begin(session, order, version, at)


async def compensate(
    session: AsyncSession, order: OrderRow, reason: str, at: datetime, *, actor: str = PURCHASE
) -> None:
    """What was done for it is being undone."""
    await _take(session, order, facts.UndoingBegun(), reason, actor, at)


async def end_compensated(
    session: AsyncSession, order: OrderRow, state: OrderState, reason: str, at: datetime, *, actor: str = PURCHASE
) -> None:
    """All is undone: `state` cancelled where that was wished, failed else. The coupon may be used again."""
    await coupons.release(session, order.id, at)
    fact = facts.Cancelled() if state == "cancelled" else facts.Failed()
    await _take(session, order, fact, reason, actor, at)


async def cancel(session: AsyncSession, order: OrderRow, reason: str, at: datetime, *, actor: str = PURCHASE) -> None:
    """Raises StateConflict unless the order is pending: what is further on is compensated or refunded."""
    if order.state != "pending":
        raise StateConflict(
            f"An order that is {order.state} cannot be cancelled",
            current_state=order.state,
            allowed=[state for state in STEPS[order.state] if state != "cancelled"],
        )
    await coupons.release(session, order.id, at)
    await _take(session, order, facts.Cancelled(), reason, actor, at)


async def expire(session: AsyncSession, order: OrderRow, reason: str, at: datetime, *, actor: str = PURCHASE) -> None:
    """It was not paid in time."""
    check_step(order.state, "expired")
    await coupons.release(session, order.id, at)
    await _take(session, order, facts.Expired(), reason, actor, at)


async def locked(session: AsyncSession, order_id: UUID) -> OrderRow | None:
    return await session.get(OrderRow, order_id, with_for_update=True, populate_existing=True)


async def order_to_change(
    session: AsyncSession, caller: Caller, order_id: UUID, *, expected: int | None = None
) -> OrderRow:
    """Locked. Raises NotFound for one that the caller may not see, PreconditionFailed."""
    order = await locked(session, order_id)
    versions = await versions_of(session, entities.order(order_id))
    if order is None or not caller.sees(order.tenant_id, order.user_id):
        raise NotFound(entities=versions)
    check_version(expected, versions[entities.order(order_id)])
    return order


async def _take(
    session: AsyncSession, order: OrderRow, fact: facts.Fact, reason: str, actor: str, at: datetime
) -> None:
    before = order.state
    await append(session, order, fact, reason, actor, at)
    await announce_step(session, order, before, reason)

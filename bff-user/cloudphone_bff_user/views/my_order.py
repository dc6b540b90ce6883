"""One of the caller's orders, with its history, device, plan and payment."""

from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Plan

from ..orders import MyOrder
from ..payments import MyPayment
from ..portal import screen


class MyOrderFull(Contract, frozen=True, kw_only=True):
    """`device_name` is null for an order without a device, `payment` before there is one; every part but the order
    may be null while its service is away."""

    order: MyOrder
    device_name: str | None
    plan: Plan | None
    payment: MyPayment | None


my_order = View("my:order:{order_id}", MyOrderFull, fresh_for=300, serve_stale_for=3600)


@my_order.segment
async def order(core: CoreClients, order_id: str) -> MyOrder:
    return MyOrder.of(await core.billing.order(order_id))


@my_order.segment(given=lambda order: order.device_id)
async def device_name(core: CoreClients, order: MyOrder) -> str | None:
    return None if order.device_id is None else (await core.device.get(order.device_id)).name


@my_order.segment(given=lambda order: order.plan_id)
async def plan(core: CoreClients, order: MyOrder) -> Plan:
    return await core.billing.plan(order.plan_id)


@my_order.segment(given=lambda order: order.payment_id)
async def payment(core: CoreClients, order: MyOrder) -> MyPayment | None:
    return None if order.payment_id is None else MyPayment.of(await core.billing.payments.one(order.payment_id))


@my_order.audience
def audience(order: MyOrder) -> Audience:
    return Audience(owner=str(order.user_id))


@screen("/my/orders/{order_id:uuid}", my_order, "orders:read", tags=["orders"])
async def show_my_order(order_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """One of the caller's orders, with its history in words, its plan, payment and subscription."""
    return await screens.show(my_order, order_id=order_id)

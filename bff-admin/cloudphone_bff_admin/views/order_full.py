"""An order's screen: the order with its history, who ordered, the device, the plan, the money and the saga's time
line."""

import time
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients, Listing
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.contracts.payment import Payment, Refund
from cloudphone_shared.contracts.purchase import SagaFull
from cloudphone_shared.contracts.user import User

from ..shown import ShownDevice, ShownOrder
from ..staff import screen


class OrderFull(Contract, frozen=True, kw_only=True):
    """`user` and `device` are null once deleted, `payment` and `saga` for an order that has none; every part but the
    order may be null while its service is away."""

    order: ShownOrder
    user: User | None
    device: ShownDevice | None
    plan: Plan | None
    payment: Payment | None
    refunds: list[Refund] | None
    saga: SagaFull | None


TIMELINE_HOLDS_SECONDS = 2
"""A saga's attempts are not announced one by one."""

order_full = View("order:full:{order_id}", OrderFull, fresh_for=300, serve_stale_for=3600)


@order_full.segment
async def order(core: CoreClients, order_id: str) -> ShownOrder:
    return ShownOrder.of(await core.billing.order(order_id))


@order_full.segment(given=lambda order: order.user_id)
async def user(core: CoreClients, order: ShownOrder) -> User:
    return await core.user.get(order.user_id)


@order_full.segment(given=lambda order: order.device_id)
async def device(core: CoreClients, order: ShownOrder) -> ShownDevice | None:
    return None if order.device_id is None else ShownDevice.of(await core.device.get(order.device_id))


@order_full.segment(given=lambda order: order.plan_id)
async def plan(core: CoreClients, order: ShownOrder) -> Plan:
    return await core.billing.plan(order.plan_id)


@order_full.segment(given=lambda order: order.payment_id)
async def payment(core: CoreClients, order: ShownOrder) -> Payment | None:
    return None if order.payment_id is None else await core.billing.payments.one(order.payment_id)


@order_full.segment(given=lambda order: order.payment_id)
async def refunds(core: CoreClients, order: ShownOrder) -> list[Refund]:
    if order.payment_id is None:
        return []
    return (await core.billing.payments.refunds(Listing(limit=100, filters={"paymentId": order.payment_id}))).items


def _while_under_way(saga: SagaFull | None) -> float | None:
    ended = saga is None or saga.saga.state in ("completed", "compensated")
    return None if ended else time.time() + TIMELINE_HOLDS_SECONDS


@order_full.segment(given=lambda order: order.saga_id, until=_while_under_way)
async def saga(core: CoreClients, order: ShownOrder) -> SagaFull | None:
    return None if order.saga_id is None else await core.billing.sagas.one(order.saga_id)


@order_full.audience
def audience(order: ShownOrder) -> Audience:
    return Audience(tenant=str(order.tenant_id), owner=str(order.user_id))


@screen("/admin/orders/{order_id:uuid}", order_full, "orders:read", 404, tags=["orders"])
async def show_order(order_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """An order with its history, its user, device and plan, its payment and refunds, and the saga that carries it."""
    return await screens.show(order_full, order_id=order_id)

"""The caller's orders: a page of ids from the billing service, a card each from the cache."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, each_of, items_in_order, one_noted
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Page
from cloudphone_shared.contracts.billing import OrderState, OrderSummary
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems


class MyOrderSummary(Contract, frozen=True, kw_only=True):
    """`amount` in minor units. `user_id` is the caller."""

    id: UUID
    user_id: UUID
    device_id: UUID | None
    plan_id: UUID
    amount: int
    currency: str
    state: OrderState
    created_at: datetime

    @staticmethod
    def of(order: OrderSummary) -> "MyOrderSummary":
        return msgspec.convert(order, MyOrderSummary, from_attributes=True)


class MyOrderCard(Contract, frozen=True, kw_only=True):
    order: MyOrderSummary
    plan_name: str | None


my_order_card = View("my:order-card:{order_id}", MyOrderCard, fresh_for=300, serve_stale_for=3600)


@my_order_card.segment
async def order(core: CoreClients, order_id: str) -> MyOrderSummary:
    return MyOrderSummary.of(await one_noted("billing", core.billing.orders([order_id]), order_id))


@my_order_card.many("order")
async def orders(core: CoreClients, order_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.orders(order_id), order_id, MyOrderSummary.of)


@my_order_card.segment(given=lambda order: order.plan_id)
async def plan_name(core: CoreClients, order: MyOrderSummary) -> str:
    return (await core.billing.plan(order.plan_id)).name


@my_order_card.many("plan_name")
async def plan_names(core: CoreClients, order: Sequence[MyOrderSummary]) -> list[Answered | None]:
    return await each_of("billing", core.billing.plans_of, [each.plan_id for each in order], lambda plan: plan.name)


@my_order_card.audience
def audience(order: MyOrderSummary) -> Audience:
    return Audience(owner=str(order.user_id))


@get(
    "/my/orders",
    tags=["orders"],
    guards=[requires("orders:read"), only_parameters("state", "deviceId")],
    responses=problems(),
)
async def list_my_orders(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    screens: NamedDependency[Screens],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
) -> Response[Page[MyOrderCard]]:
    """The caller's orders, as cards. Sorted by `createdAt`, `amount` or `state`; `-` before it descends."""
    listing = asked.listing(state=present_state, deviceId=device_id, userId=caller.id)
    page = await core.billing.order_page(listing, bearer=passing_on(caller))
    return await screens.cards(my_order_card, [{"order_id": each} for each in page.items], page.next_cursor)

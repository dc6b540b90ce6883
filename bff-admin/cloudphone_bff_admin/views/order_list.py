"""The list of orders: a page of ids from the billing service, a card each from the cache."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, each_of, items_in_order, one_noted
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Page
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..shown import ShownOrderSummary
from ..staff import staff
from .people import Person, people


class OrderCard(Contract, frozen=True, kw_only=True):
    """`user` and `deviceName` come from their owners; null once deleted and while their service is away."""

    order: ShownOrderSummary
    user: Person | None
    device_name: str | None
    plan_name: str | None


order_card = View("order:card:{order_id}", OrderCard, fresh_for=300, serve_stale_for=3600)


@order_card.segment
async def order(core: CoreClients, order_id: str) -> ShownOrderSummary:
    return ShownOrderSummary.of(await one_noted("billing", core.billing.orders([order_id]), order_id))


@order_card.many("order")
async def orders(core: CoreClients, order_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.orders(order_id), order_id, ShownOrderSummary.of)


@order_card.segment(given=lambda order: order.user_id)
async def user(core: CoreClients, order: ShownOrderSummary) -> Person:
    return Person.of(await core.user.get(order.user_id))


@order_card.many("user")
async def users(core: CoreClients, order: Sequence[ShownOrderSummary]) -> list[Answered | None]:
    return await people(core, [each.user_id for each in order])


@order_card.segment(given=lambda order: order.device_id)
async def device_name(core: CoreClients, order: ShownOrderSummary) -> str | None:
    return None if order.device_id is None else (await core.device.get(order.device_id)).name


@order_card.many("device_name")
async def device_names(core: CoreClients, order: Sequence[ShownOrderSummary]) -> list[Answered | None]:
    wanted = [each.device_id for each in order]
    return await each_of("device", core.device.get_many, wanted, lambda device: device.name)


@order_card.segment(given=lambda order: order.plan_id)
async def plan_name(core: CoreClients, order: ShownOrderSummary) -> str:
    return (await core.billing.plan(order.plan_id)).name


@order_card.many("plan_name")
async def plan_names(core: CoreClients, order: Sequence[ShownOrderSummary]) -> list[Answered | None]:
    return await each_of("billing", core.billing.plans_of, [each.plan_id for each in order], lambda plan: plan.name)


@order_card.audience
def audience(order: ShownOrderSummary) -> Audience:
    return Audience(tenant=str(order.tenant_id), owner=str(order.user_id))


_FILTERS = ("state", "userId", "deviceId", "planId", "tenantId")


@get(
    "/admin/orders",
    tags=["orders"],
    guards=[staff("orders:read"), only_parameters(*_FILTERS)],
    responses=problems(),
)
async def list_orders(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    screens: NamedDependency[Screens],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    user_id: Annotated[UUID | None, QueryParameter(name="userId")] = None,
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    plan_id: Annotated[UUID | None, QueryParameter(name="planId")] = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
) -> Response[Page[OrderCard]]:
    """Orders, as cards. Sorted by `createdAt`, `amount`, `state` or `userName`; `-` before it descends."""
    listing = asked.listing(state=present_state, userId=user_id, deviceId=device_id, planId=plan_id, tenantId=tenant_id)
    page = await core.billing.order_page(listing, bearer=passing_on(caller))
    return await screens.cards(order_card, [{"order_id": each} for each in page.items], page.next_cursor)

"""Orders and subscriptions over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.billing import (
    Order,
    OrderState,
    OrderSummary,
)
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.purchase import OrderRefund
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from .. import owners
from ..handling import (
    IfMatch,
    Key,
    Stand,
    TenantId,
    UserId,
    Who,
    once,
    sees_all,
    tagged,
    with_versions,
)
from . import queries, reads, refunds
from .subscription_routes import SUBSCRIPTIONS, locked_with, money_of

InState = Annotated[OrderState | None, QueryParameter(name="state")]
DeviceId = Annotated[UUID | None, QueryParameter(name="deviceId")]
PlanId = Annotated[UUID | None, QueryParameter(name="planId")]


@get(
    "/v1/orders",
    guards=[requires("orders:read"), only_parameters("state", "userId", "deviceId", "planId", "tenantId")],
)
async def list_orders(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: InState = None,
    user_id: UserId = None,
    device_id: DeviceId = None,
    plan_id: PlanId = None,
    tenant_id: TenantId = None,
) -> Answer[Page[UUID]]:
    wanted = queries.OrderFilter(
        state=in_state, user_id=user_id, device_id=device_id, plan_id=plan_id, tenant_id=tenant_id
    )
    async with billing.database.reading() as session:
        return Answer(data=await queries.order_page(session, caller, wanted, asked, billing.cursors), entities={})


@get("/v1/orders/batch", guards=[requires("orders:read")])
async def orders_batch(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[OrderSummary]]:
    return await reads.orders(billing.database, caller, parse_ids(ids))


@get("/v1/orders/{order_id:uuid}", guards=[requires("orders:read")])
async def get_order(order_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[Order]]:
    async with billing.database.reading() as session:
        return tagged(await queries.order(session, caller, order_id))


@post("/v1/orders/{order_id:uuid}/refund", guards=[requires("orders:manage")], status_code=200)
async def refund_order(
    request: Request[Any, Any, Any],
    order_id: FromPath[UUID],
    data: JSONBody[OrderRefund],
    billing: Stand,
    caller: Who,
    key: Key = None,
    if_match: IfMatch = None,
) -> Response[Any]:
    expected = expected_version(if_match)

    async def make(session: AsyncSession) -> Reply:
        order, purchase, subscription = await locked_with(session, caller, order_id, expected=expected)
        at = billing.now()
        await refunds.refund(session, purchase, order, subscription, data, actor=caller.id, at=at)
        answer = await queries.order(session, caller, order_id)
        return Reply.of(with_versions(await money_of(session, order), answer), status=200)

    return await once(request, billing, caller, key, make)


@get("/v1/users/orders", guards=[requires("orders:read")])
async def orders_of_many(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[list[OrderSummary]]]:
    sees_all(caller)
    return await reads.orders_of_many(billing.database, parse_ids(ids))


@get("/v1/users/{user_id:uuid}/orders", guards=[requires("orders:read")])
async def orders_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[list[OrderSummary]]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.orders_of(billing.database, caller, user_id)


ORDERS: list[ControllerRouterHandler] = [
    list_orders, orders_batch, get_order, refund_order, orders_of_many, orders_of, *SUBSCRIPTIONS,
]  # fmt: skip

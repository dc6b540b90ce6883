"""Orders and subscriptions over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from cloudphone_shared.contracts.billing import (
    Order,
    OrderState,
    OrderSummary,
)
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters

from .. import owners
from ..handling import (
    Stand,
    TenantId,
    UserId,
    Who,
    sees_all,
    tagged,
)
from . import queries, reads

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


@get("/v1/users/orders", guards=[requires("orders:read")])
async def orders_of_many(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[list[OrderSummary]]]:
    sees_all(caller)
    return await reads.orders_of_many(billing.database, parse_ids(ids))


@get("/v1/users/{user_id:uuid}/orders", guards=[requires("orders:read")])
async def orders_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[list[OrderSummary]]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.orders_of(billing.database, caller, user_id)


ORDERS: list[ControllerRouterHandler] = [
    list_orders, orders_batch, get_order, orders_of_many, orders_of,
]  # fmt: skip

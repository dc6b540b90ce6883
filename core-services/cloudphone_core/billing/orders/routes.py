"""Orders and subscriptions over HTTP."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.clients.owners import device_named
from cloudphone_shared.contracts.billing import (
    Order,
    OrderCancel,
    OrderCreate,
    OrderPatch,
    OrderState,
    OrderSummary,
)
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.database import versions_of
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version
from cloudphone_shared.ids import uuid7

from .. import owners
from ..handling import (
    IfMatch,
    Key,
    Stand,
    TenantId,
    UserId,
    Who,
    created,
    once,
    own_id,
    sees_all,
    tagged,
    with_versions,
)
from . import queries, reads, service

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


@post("/v1/orders", guards=[requires("orders:write")])
async def create_order(
    request: Request[Any, Any, Any], data: JSONBody[OrderCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    user_id = data.user_id or own_id(caller)
    own = str(user_id) == caller.id
    if not own:
        caller.require("orders:manage")

    async def make(session: AsyncSession) -> Reply:
        order = await service.place(
            session,
            order_id=uuid7(),
            saga_id=None,
            plan_id=data.plan_id,
            user=user,
            device=device or None,
            coupon_code=data.coupon_code,
            payment_method=data.payment_method,
            auto_renew=data.auto_renew,
            actor=caller.id,
            at=billing.now(),
        )
        announced = await versions_of(session, entities.orders_of(user_id))
        return created(
            f"/v1/orders/{order.id}", with_versions(announced, await queries.order(session, caller, order.id))
        )

    user = await owners.active_user(billing.core, caller, user_id)
    device = data.device_id and await owners.device_for(
        billing.core,
        data.device_id,
        tenant_id=user.tenant_id,
        owner_id=user.id if caller.data_scope == "self" else None,
    )
    return await once(request, billing, caller, key, make)


@get("/v1/orders/batch", guards=[requires("orders:read")])
async def orders_batch(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[OrderSummary]]:
    return await reads.orders(billing.database, caller, parse_ids(ids))


@get("/v1/orders/{order_id:uuid}", guards=[requires("orders:read")])
async def get_order(order_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[Order]]:
    async with billing.database.reading() as session:
        return tagged(await queries.order(session, caller, order_id))


@patch("/v1/orders/{order_id:uuid}", guards=[requires("orders:manage")])
async def change_order(
    order_id: FromPath[UUID], data: JSONBody[OrderPatch], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Order]]:
    expected = expected_version(if_match)
    device = None
    if data.device_id is not msgspec.UNSET:
        device = await device_named(billing.core, caller, data.device_id)
    async with billing.database.writing() as session:
        await service.take_step(
            session, caller, order_id, data.state, data.reason, device, expected=expected, at=billing.now()
        )
        return tagged(await queries.order(session, caller, order_id))


@post("/v1/orders/{order_id:uuid}/cancel", guards=[requires("orders:write")], status_code=200)
async def cancel_order(
    order_id: FromPath[UUID], data: JSONBody[OrderCancel], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Order]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        order = await service.order_to_change(session, caller, order_id, expected=expected)
        await service.cancel(session, order, data.reason, billing.now(), actor=caller.id)
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
    list_orders, create_order, orders_batch, get_order, change_order, cancel_order, orders_of_many, orders_of,
]  # fmt: skip

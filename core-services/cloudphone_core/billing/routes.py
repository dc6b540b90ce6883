"""Billing over HTTP, in URL order."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.owners import device_named, may_see_device
from cloudphone_shared.contracts.billing import (
    Arrears,
    ArrearsSet,
    Balance,
    BalanceSet,
    BillingStatistics,
    DeviceUsage,
    Order,
    OrderCancel,
    OrderCreate,
    OrderPatch,
    OrderState,
    OrderSummary,
    Plan,
    PlanCreate,
    PlanPatch,
    UsageDay,
    UsageRecord,
    UsageRecordCreate,
    UserUsage,
)
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from . import arrears, metering, owners, queries, reads, service, usage
from .handling import (
    Billing,
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

InState = Annotated[OrderState | None, QueryParameter(name="state")]
DeviceId = Annotated[UUID | None, QueryParameter(name="deviceId")]
PlanId = Annotated[UUID | None, QueryParameter(name="planId")]
Days = Annotated[int, QueryParameter(name="days", ge=1, le=366)]


@get("/v1/plans", guards=[requires("plans:read"), only_parameters("active")])
async def list_plans(
    billing: Stand, caller: Who, asked: NamedDependency[ListQuery], active: FromQuery[bool | None] = None
) -> Answer[Page[Plan]]:
    async with billing.database.reading() as session:
        return await queries.plan_page(session, caller, asked, billing.cursors, active=active)


@get("/v1/plans/batch", guards=[requires("plans:read")])
async def plans_batch(billing: Stand, ids: Ids) -> Answer[Many[Plan]]:
    return await reads.plans(billing.database, parse_ids(ids))


@post("/v1/plans", guards=[requires("plans:manage")])
async def create_plan(
    request: Request[Any, Any, Any], data: JSONBody[PlanCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        plan_id, announced = await service.create_plan(session, caller, data, billing.now())
        return created(f"/v1/plans/{plan_id}", with_versions(announced, await queries.plan(session, plan_id)))

    return await once(request, billing, caller, key, make)


@get("/v1/plans/{plan_id:uuid}", guards=[requires("plans:read")])
async def get_plan(plan_id: FromPath[UUID], billing: Stand) -> Response[Answer[Plan]]:
    return tagged(await reads.plan(billing.database, plan_id))


@patch("/v1/plans/{plan_id:uuid}", guards=[requires("plans:manage")])
async def change_plan(
    plan_id: FromPath[UUID], data: JSONBody[PlanPatch], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Plan]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        await service.change_plan(session, caller, plan_id, data, expected=expected)
        return tagged(await queries.plan(session, plan_id))


@delete("/v1/plans/{plan_id:uuid}", guards=[requires("plans:manage")], status_code=200)
async def delete_plan(plan_id: FromPath[UUID], billing: Stand, caller: Who, if_match: IfMatch = None) -> Answer[None]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        return Answer(data=None, entities=await service.delete_plan(session, caller, plan_id, expected=expected))


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
        order_id, announced = await service.create_order(
            session, data.plan_id, user, device, actor=caller.id, at=billing.now()
        )
        return created(
            f"/v1/orders/{order_id}", with_versions(announced, await queries.order(session, caller, order_id))
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
        await service.cancel_order(session, caller, order_id, data.reason, expected=expected, at=billing.now())
        return tagged(await queries.order(session, caller, order_id))


@get("/v1/users/orders", guards=[requires("orders:read")])
async def orders_of_many(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[list[OrderSummary]]]:
    sees_all(caller)
    return await reads.orders_of_many(billing.database, parse_ids(ids))


@get("/v1/users/balances", guards=[requires("orders:read")])
async def balances(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[Balance | None]]:
    sees_all(caller)
    return await reads.balances(billing.database, parse_ids(ids))


@get("/v1/users/usage", guards=[requires("usage:read")])
async def usage_of_users(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[UserUsage]]:
    sees_all(caller)
    return await reads.usage_of_users(billing.database, parse_ids(ids), billing.now())


@get("/v1/devices/usage", guards=[requires("usage:read")])
async def usage_of_devices(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[DeviceUsage]]:
    sees_all(caller)
    return await reads.usage_of_devices(billing.database, parse_ids(ids), billing.now())


@get("/v1/users/{user_id:uuid}/orders", guards=[requires("orders:read")])
async def orders_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[list[OrderSummary]]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.orders_of(billing.database, caller, user_id)


@get("/v1/users/{user_id:uuid}/balance", guards=[requires("orders:read")])
async def balance_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[Balance | None]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.balance(billing.database, user_id)


@put("/v1/users/{user_id:uuid}/balance", guards=[requires("balances:manage")])
async def set_balance(
    user_id: FromPath[UUID], data: JSONBody[BalanceSet], billing: Stand, caller: Who
) -> Answer[Balance | None]:
    user = await owners.user_named(billing.core, caller, user_id)
    async with billing.database.writing() as session:
        await service.set_balance(session, user, data, billing.now())
        return await queries.balance(session, user_id)


@get("/v1/arrears", guards=[requires("arrears:manage"), only_parameters()])
async def list_arrears(billing: Stand, caller: Who, asked: NamedDependency[ListQuery]) -> Answer[Page[Arrears]]:
    async with billing.database.reading() as session:
        return Answer(data=await arrears.page_of(session, caller, asked, billing.cursors), entities={})


@get("/v1/users/{user_id:uuid}/arrears", guards=[requires("orders:read")])
async def arrears_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[Arrears | None]:
    await owners.may_see_user(billing.core, caller, user_id)
    async with billing.database.reading() as session:
        return await arrears.of_user(session, user_id)


@put("/v1/users/{user_id:uuid}/arrears", guards=[requires("arrears:manage")])
async def begin_arrears(
    user_id: FromPath[UUID], data: JSONBody[ArrearsSet], billing: Stand, caller: Who
) -> Answer[Arrears | None]:
    user = await owners.user_named(billing.core, caller, user_id)
    async with billing.database.writing() as session:
        await arrears.begin(session, user, data.reason, billing.now())
        return await arrears.of_user(session, user_id)


@delete("/v1/users/{user_id:uuid}/arrears", guards=[requires("arrears:manage")], status_code=200)
async def end_arrears(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[None]:
    await owners.may_see_user(billing.core, caller, user_id)
    async with billing.database.writing() as session:
        return Answer(data=None, entities=await arrears.end(session, caller, user_id))


@get("/v1/users/{user_id:uuid}/usage", guards=[requires("usage:read")])
async def usage_of_user(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[UserUsage]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await reads.user_usage(billing.database, user_id, billing.now())


@get("/v1/users/{user_id:uuid}/usage/days", guards=[requires("usage:read")])
async def usage_days(user_id: FromPath[UUID], billing: Stand, caller: Who, days: Days = 30) -> Answer[list[UsageDay]]:
    await owners.may_see_user(billing.core, caller, user_id)
    async with billing.database.reading() as session:
        return await usage.usage_days(session, user_id, billing.now(), days)


@get("/v1/devices/{device_id:uuid}/usage", guards=[requires("usage:read")])
async def usage_of_device(
    device_id: FromPath[UUID], billing: Stand, request: Request[Any, Any, Any]
) -> Answer[DeviceUsage]:
    caller = caller_of(request)
    await may_see_device(billing.core, caller, device_id)
    user_id = own_id(caller) if caller.data_scope == "self" else None
    return await reads.device_usage(billing.database, device_id, billing.now(), user_id=user_id)


@post("/v1/usage-records", guards=[requires("usage:record")])
async def record_usage(
    request: Request[Any, Any, Any], data: JSONBody[UsageRecordCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    metering.check_interval(data.started_at, data.stopped_at, billing.now())
    tenant_id = await _tenant_of_run(billing, caller, data)

    async def make(session: AsyncSession) -> Reply:
        announced = await metering.record_usage(session, tenant_id, data, billing.now())
        place = {"Location": f"/v1/usage-records/{data.run_id}"}
        return Reply.of(with_versions(announced, await usage.usage_record(session, caller, data.run_id)), headers=place)

    return await once(request, billing, caller, key, make)


@get("/v1/usage-records/{run_id:uuid}", guards=[requires("usage:read")])
async def get_usage_record(run_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[UsageRecord]:
    async with billing.database.reading() as session:
        return await usage.usage_record(session, caller, run_id)


@get("/v1/billing/statistics", guards=[requires("dashboard:read")])
async def billing_statistics(billing: Stand, caller: Who) -> Answer[BillingStatistics]:
    async with billing.database.reading() as session:
        return await queries.statistics(session, caller, billing.now())


HANDLERS = [
    list_plans, create_plan, plans_batch, get_plan, change_plan, delete_plan,
    list_orders, create_order, orders_batch, get_order, change_order, cancel_order,
    orders_of_many, balances, usage_of_users, usage_of_devices,
    orders_of, balance_of, set_balance, usage_of_user, usage_days,
    list_arrears, arrears_of, begin_arrears, end_arrears,
    usage_of_device, record_usage, get_usage_record, billing_statistics,
]  # fmt: skip


async def _tenant_of_run(billing: Billing, caller: Caller, record: UsageRecordCreate) -> UUID:
    """A run's tenant is its device's; a run known already needs nobody asked, so late facts outlive their device."""
    async with billing.database.reading() as session:
        if known := await metering.tenant_of_run(session, caller, record.run_id):
            return known
    user = await owners.user_named(billing.core, caller, record.user_id)
    await owners.device_for(billing.core, record.device_id, tenant_id=user.tenant_id)
    return user.tenant_id

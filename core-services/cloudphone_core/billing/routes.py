"""Billing over HTTP, in URL order."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.owners import may_see_device
from cloudphone_shared.contracts.billing import (
    Arrears,
    ArrearsSet,
    BillingStatistics,
    DeviceUsage,
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

from . import arrears, metering, owners, queries, reads, usage
from .handling import (
    Billing,
    Key,
    Stand,
    Who,
    once,
    own_id,
    sees_all,
    with_versions,
)

Days = Annotated[int, QueryParameter(name="days", ge=1, le=366)]


@get("/v1/users/usage", guards=[requires("usage:read")])
async def usage_of_users(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[UserUsage]]:
    sees_all(caller)
    return await reads.usage_of_users(billing.database, parse_ids(ids), billing.now())


@get("/v1/devices/usage", guards=[requires("usage:read")])
async def usage_of_devices(billing: Stand, caller: Who, ids: Ids) -> Answer[Many[DeviceUsage]]:
    sees_all(caller)
    return await reads.usage_of_devices(billing.database, parse_ids(ids), billing.now())


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
    usage_of_users, usage_of_devices,
    usage_of_user, usage_days,
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

"""Quotas and reservations of them over HTTP."""

from datetime import UTC, datetime
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.quota import (
    Quota,
    QuotaSet,
    Reservation,
    ReservationCreate,
    Resource,
    TenantQuota,
)
from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError, NotFound
from cloudphone_shared.http.app import requires

from . import quotas


@post("/v1/quota-reservations", guards=[requires("quotas:reserve")])
async def reserve(data: JSONBody[ReservationCreate], database: NamedDependency[Database]) -> Answer[Reservation]:
    async with database.writing() as session:
        answer = await quotas.reserve(session, data, _now())
    if isinstance(answer, DomainError):
        raise answer
    return answer


@post("/v1/quota-reservations/{reservation_id:uuid}/commit", status_code=200, guards=[requires("quotas:reserve")])
async def commit(reservation_id: FromPath[UUID], database: NamedDependency[Database]) -> Answer[Reservation]:
    async with database.writing() as session:
        return await quotas.commit(session, reservation_id, _now())


@post("/v1/quota-reservations/{reservation_id:uuid}/release", status_code=200, guards=[requires("quotas:reserve")])
async def release(reservation_id: FromPath[UUID], database: NamedDependency[Database]) -> Answer[Reservation]:
    async with database.writing() as session:
        return await quotas.release(session, reservation_id, _now())


@get("/v1/users/{user_id:uuid}/quotas", guards=[requires("users:read")])
async def get_quotas(
    user_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[Quota]]:
    async with database.reading() as session:
        return await quotas.quotas_answer(session, caller, user_id)


@put("/v1/users/{user_id:uuid}/quotas/{resource:str}", guards=[requires("quotas:manage")])
async def set_quota(
    user_id: FromPath[UUID],
    resource: FromPath[str],
    data: JSONBody[QuotaSet],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
) -> Answer[Quota]:
    async with database.writing() as session:
        return await quotas.set_quota(session, caller, user_id, _known(resource), data.limit, _now())


@get("/v1/tenants/{tenant_id:uuid}/quotas", guards=[requires("quotas:read")])
async def get_tenant_quotas(
    tenant_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[TenantQuota]]:
    async with database.reading() as session:
        return await quotas.tenant_quotas_answer(session, caller, tenant_id)


@put("/v1/tenants/{tenant_id:uuid}/quotas/{resource:str}", guards=[requires("quotas:manage")])
async def set_tenant_quota(
    tenant_id: FromPath[UUID],
    resource: FromPath[str],
    data: JSONBody[QuotaSet],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
) -> Answer[TenantQuota]:
    async with database.writing() as session:
        return await quotas.set_tenant_quota(session, caller, tenant_id, _known(resource), data.limit, _now())


def _known(resource: str) -> Resource:
    if resource not in quotas.RESOURCES:
        raise NotFound(f"There are quotas of {', '.join(quotas.RESOURCES)} only")
    return resource


def _now() -> datetime:
    return datetime.now(UTC)


QUOTA_ROUTES = [reserve, commit, release, get_quotas, set_quota, get_tenant_quotas, set_tenant_quota]

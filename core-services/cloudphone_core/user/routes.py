"""Users and tenants over HTTP. What a caller may not see is 404, whoever's it is."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.user import (
    Role,
    Tenant,
    TenantCreate,
    User,
    UserCreate,
    UserPatch,
    UserStatistics,
    UserStatus,
    UserSuspend,
)
from cloudphone_shared.database import Cursors, Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import etag, expected_version

from . import queries, reads, service
from .models import UserRow
from .passwords import Passwords

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]

_MOST_ACTIVE = 1000


@get("/v1/users", guards=[requires("users:read"), only_parameters("status", "role", "tenantId")])
async def list_users(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    status: Annotated[UserStatus | None, QueryParameter()] = None,
    role: Annotated[Role | None, QueryParameter()] = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
) -> Answer[Page[User]]:
    wanted = queries.UserFilter(status=status, role=role, tenant_id=tenant_id)
    async with database.reading() as session:
        return await queries.list_users(session, caller, wanted, asked, cursors)


@get("/v1/users/batch", guards=[requires("users:read")])
async def get_users(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    ids: Ids,
) -> Answer[Many[User]]:
    return await reads.users(database, caller, parse_ids(ids))


@get("/v1/users/most-active", guards=[requires("users:read")])
async def get_most_active(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    count: Annotated[int, QueryParameter(ge=1, le=_MOST_ACTIVE)] = 100,
) -> Answer[list[User]]:
    async with database.reading() as session:
        return await queries.most_active_users(session, caller, count)


@get("/v1/users/statistics", guards=[requires("users:read")])
async def get_statistics(
    caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[UserStatistics]:
    async with database.reading() as session:
        return await queries.user_statistics(session, caller)


@get("/v1/users/me", guards=[requires("users:read")])
async def get_me(caller: NamedDependency[Caller], database: NamedDependency[Database]) -> Response[Answer[User]]:
    return _versioned(await reads.user(database, caller, own_id(caller)))


@get("/v1/users/{user_id:uuid}", guards=[requires("users:read")])
async def get_user(
    user_id: FromPath[UUID], request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[Answer[User]]:
    return _versioned(await reads.user(database, caller_of(request), user_id))


@post("/v1/users", guards=[requires("users:manage")])
async def create_user(
    request: Request[Any, Any, Any],
    data: JSONBody[UserCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    body_key: NamedDependency[bytes],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    hashed = await passwords.hash(data.password)

    async def create(session: AsyncSession) -> Reply:
        user, touched = await service.create_user(session, caller, data, hashed, _now())
        return _created(await queries.user_answer(session, user, touched))

    # The body holds a password: a bare digest of it, kept for a day, could be searched for.
    body = hmac.new(body_key, await request.body(), hashlib.sha256).digest()
    asked = request_hash(caller.id, "POST", request.url.path, body)
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


@patch("/v1/users/{user_id:uuid}", guards=[requires("users:write")])
async def change_user(
    user_id: FromPath[UUID],
    data: JSONBody[UserPatch],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[User]]:
    expected = expected_version(if_match)
    async with database.writing() as session:
        return await _changed(session, *await service.change_user(session, caller, user_id, data, expected, _now()))


@post("/v1/users/{user_id:uuid}/suspend", status_code=200, guards=[requires("users:manage")])
async def suspend_user(
    user_id: FromPath[UUID],
    data: JSONBody[UserSuspend],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[User]]:
    expected = expected_version(if_match)
    async with database.writing() as session:
        return await _changed(
            session, *await service.suspend_user(session, caller, user_id, data.reason, expected, _now())
        )


@post("/v1/users/{user_id:uuid}/reinstate", status_code=200, guards=[requires("users:manage")])
async def reinstate_user(
    user_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[User]]:
    expected = expected_version(if_match)
    async with database.writing() as session:
        return await _changed(session, *await service.reinstate_user(session, caller, user_id, expected, _now()))


@delete("/v1/users/{user_id:uuid}", status_code=200, guards=[requires("users:manage")])
async def delete_user(
    user_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Answer[None]:
    expected = expected_version(if_match)
    async with database.writing() as session:
        return Answer(data=None, entities=await service.delete_user(session, caller, user_id, expected, _now()))


@get("/v1/tenants", guards=[requires("users:read"), only_parameters()])
async def list_tenants(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
) -> Answer[Page[Tenant]]:
    async with database.reading() as session:
        return await queries.list_tenants(session, caller, asked, cursors)


@get("/v1/tenants/{tenant_id:uuid}", guards=[requires("users:read")])
async def get_tenant(
    tenant_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Tenant]:
    async with database.reading() as session:
        return await queries.tenant_answer(session, caller, tenant_id)


@post("/v1/tenants", guards=[requires("users:manage")])
async def create_tenant(
    request: Request[Any, Any, Any],
    data: JSONBody[TenantCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    if caller.data_scope != "all":
        raise Forbidden("Only who sees all tenants may create one")

    async def create(session: AsyncSession) -> Reply:
        tenant, touched = await service.create_tenant(session, data, _now())
        answer = Answer(data=queries.tenant_contract(tenant), entities=touched)
        return Reply.of(answer, status=201, headers={"Location": f"/v1/tenants/{tenant.id}"})

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


def own_id(caller: Caller) -> UUID:
    """Raises Forbidden for a service, which has no account."""
    if caller.kind != "user":
        raise Forbidden("A service has no account of its own")
    return UUID(caller.id)


async def _changed(session: AsyncSession, user: UserRow, touched: Mapping[str, int]) -> Response[Answer[User]]:
    return _versioned(await queries.user_answer(session, user, touched))


def _versioned(answer: Answer[User]) -> Response[Answer[User]]:
    return Response(answer, headers={"ETag": etag(answer.data.version)})


def _created(answer: Answer[User]) -> Reply:
    headers = {"Location": f"/v1/users/{answer.data.id}", "ETag": etag(answer.data.version)}
    return Reply.of(answer, status=201, headers=headers)


def _now() -> datetime:
    return datetime.now(UTC)


USER_ROUTES = [
    list_users, get_users, get_most_active, get_statistics, get_me, get_user, create_user, change_user, suspend_user,
    reinstate_user, delete_user, list_tenants, get_tenant, create_tenant,
]  # fmt: skip

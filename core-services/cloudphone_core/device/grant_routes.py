"""Grants over HTTP. What a caller may not see is 404."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.phone import Grant, GrantCreate
from cloudphone_shared.database import Database, Reply, idempotent, request_hash
from cloudphone_shared.http.app import requires

from . import grants

IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]


@get("/v1/devices/{device_id:uuid}/grants", guards=[requires("devices:read")])
async def get_grants(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[Grant]]:
    async with database.reading() as session:
        return await grants.grants_of_device(session, caller, device_id)


@get("/v1/devices/{device_id:uuid}/grants/{user_id:uuid}", guards=[requires("devices:read")])
async def get_grant(
    device_id: FromPath[UUID],
    user_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
) -> Answer[Grant]:
    async with database.reading() as session:
        return await grants.grant_of(session, caller, device_id, user_id)


@get("/v1/users/{user_id:uuid}/grants", guards=[requires("devices:read")])
async def get_grants_of_user(
    user_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[Grant]]:
    async with database.reading() as session:
        return await grants.grants_of_user(session, caller, user_id)


@post("/v1/devices/{device_id:uuid}/grants", guards=[requires("devices:write")])
async def create_grant(
    request: Request[Any, Any, Any],
    device_id: FromPath[UUID],
    data: JSONBody[GrantCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    core: NamedDependency[CoreClients],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async with database.reading() as session:
        await grants.held_device(session, caller, device_id)
    user = await grants.find_user(core, caller, data.email)

    async def create(session: AsyncSession) -> Reply:
        grant_id, announced = await grants.create_grant(session, caller, device_id, user, data)
        answer = await grants.changed_grant(session, grant_id, announced)
        return Reply.of(answer, status=201, headers={"Location": f"/v1/devices/{device_id}/grants/{user.id}"})

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


@delete("/v1/grants/{grant_id:uuid}", status_code=200, guards=[requires("devices:write")])
async def revoke_grant(
    grant_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[None]:
    async with database.writing() as session:
        announced = await grants.revoke_grant(session, caller, grant_id)
    return Answer(data=None, entities=announced)


GRANT_ROUTES = [get_grants, get_grant, get_grants_of_user, create_grant, revoke_grant]

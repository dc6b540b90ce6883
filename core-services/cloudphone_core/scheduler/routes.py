"""Allocations, the queue and placements over HTTP. What a caller may not see is 404, whoever's it is."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.scheduler import (
    Allocation,
    AllocationConfirm,
    AllocationCreate,
    AllocationRelease,
    AllocationRenew,
    AllocationRequest,
    AllocationState,
    Placement,
    RequestState,
)
from cloudphone_shared.database import Cursors, Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import FieldError, Invalid, NotFound
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from . import queries, service
from .settings import Scheduling

IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]
_READ = requires("allocations:read")
_MANAGE = requires("allocations:manage")


async def _confirms(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Who manages allocations, and billing for what was paid."""
    caller = caller_of(connection)
    if not caller.may("allocations:confirm"):
        caller.require("allocations:manage")


@post("/v1/allocations", guards=[_MANAGE])
async def create_allocation(
    request: Request[Any, Any, Any],
    data: JSONBody[AllocationCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    core: NamedDependency[CoreClients],
    patience: NamedDependency[Scheduling],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    tenant_id = await _tenant_of(core, caller, data.user_id)

    async def allocate(session: AsyncSession) -> Reply:
        request_id = await service.request_device(session, data, tenant_id, patience)
        answer = await queries.request(session, caller, request_id)
        if (given := answer.data.allocation) is not None:
            return Reply.of(answer, status=201, headers={"Location": f"/v1/allocations/{given.id}"})
        return Reply.of(answer, status=202, headers={"Location": f"/v1/allocation-requests/{request_id}"})

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, allocate)).response()


@get("/v1/allocations", guards=[_READ, only_parameters("state", "userId", "deviceId", "nodeId")])
async def list_allocations(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    in_state: Annotated[AllocationState | None, QueryParameter(name="state")] = None,
    user_id: Annotated[UUID | None, QueryParameter(name="userId")] = None,
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    node_id: Annotated[UUID | None, QueryParameter(name="nodeId")] = None,
) -> Answer[Page[Allocation]]:
    wanted = queries.AllocationFilter(state=in_state, user_id=user_id, device_id=device_id, node_id=node_id)
    async with database.reading() as session:
        return await queries.allocations(session, caller, wanted, asked, cursors)


@get("/v1/allocations/{allocation_id:uuid}", guards=[_READ])
async def get_allocation(
    allocation_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Allocation]:
    async with database.reading() as session:
        return await queries.allocation(session, caller, allocation_id)


@post("/v1/allocations/{allocation_id:uuid}/release", status_code=200, guards=[_MANAGE])
async def release_allocation(
    allocation_id: FromPath[UUID],
    data: JSONBody[AllocationRelease],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    patience: NamedDependency[Scheduling],
) -> Answer[Allocation]:
    async with database.writing() as session:
        row = await service.release(session, caller, allocation_id, data.fencing_token, data.reason, patience)
        return Answer(data=queries.allocation_of(row), entities={})


@post("/v1/allocations/{allocation_id:uuid}/confirm", status_code=200, guards=[_confirms])
async def confirm_allocation(
    allocation_id: FromPath[UUID],
    data: JSONBody[AllocationConfirm],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
) -> Answer[Allocation]:
    async with database.writing() as session:
        row = await service.confirm(session, caller, allocation_id, data.fencing_token)
        return Answer(data=queries.allocation_of(row), entities={})


@post("/v1/allocations/{allocation_id:uuid}/renew", status_code=200, guards=[_MANAGE])
async def renew_allocation(
    allocation_id: FromPath[UUID],
    data: JSONBody[AllocationRenew],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
) -> Answer[Allocation]:
    async with database.writing() as session:
        row = await service.renew(session, caller, allocation_id, data.fencing_token, data.lease_seconds)
        return Answer(data=queries.allocation_of(row), entities={})


@get("/v1/allocation-requests", guards=[_READ, only_parameters("state")])
async def list_requests(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    in_state: Annotated[RequestState | None, QueryParameter(name="state")] = None,
) -> Answer[Page[AllocationRequest]]:
    async with database.reading() as session:
        return await queries.requests(session, caller, in_state, asked, cursors)


@get("/v1/allocation-requests/{request_id:uuid}", guards=[_READ])
async def get_request(
    request_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[AllocationRequest]:
    async with database.reading() as session:
        return await queries.request(session, caller, request_id)


@get("/v1/allocation-requests/{request_id:uuid}/explanation", guards=[_READ])
async def explain_request(
    request_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Placement]:
    async with database.reading() as session:
        return await queries.explanation(session, caller, request_id)


@delete("/v1/allocation-requests/{request_id:uuid}", status_code=200, guards=[_MANAGE])
async def cancel_request(
    request_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[AllocationRequest]:
    async with database.writing() as session:
        await service.cancel_request(session, caller, request_id)
        return await queries.request(session, caller, request_id)


@post("/v1/placements/simulate", status_code=200, guards=[_READ])
async def simulate_placement(
    data: JSONBody[AllocationCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    core: NamedDependency[CoreClients],
) -> Answer[Placement]:
    tenant_id = await _tenant_of(core, caller, data.user_id)
    async with database.writing() as session:
        return Answer(data=await service.simulate(session, data, tenant_id), entities={})


async def _tenant_of(core: CoreClients, caller: Caller, user_id: UUID) -> UUID:
    """The user's. Raises Invalid for an unknown user, and for one whom the caller may not see."""
    try:
        user = await core.user.get(user_id)
    except NotFound:
        user = None
    if user is None or not caller.sees(user.tenant_id, user.id):
        message = f"there is no user {user_id}"
        raise Invalid(message.capitalize(), errors=[FieldError(field="userId", message=message)])
    if user.status != "active":
        raise Invalid(f"The user {user_id} is {user.status}; only an active user can hold a device")
    return user.tenant_id


ALLOCATION_ROUTES = [
    create_allocation,
    list_allocations,
    get_allocation,
    release_allocation,
    confirm_allocation,
    renew_allocation,
    list_requests,
    get_request,
    explain_request,
    cancel_request,
    simulate_placement,
]

"""Devices over HTTP. What a caller may not see is 404, whoever's it is."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.device import (
    Device,
    DeviceAssign,
    DeviceCreate,
    DevicePatch,
    DevicesHeld,
    DeviceState,
    DeviceStatistics,
    DeviceSummary,
    Provider,
    StateChange,
)
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import DEFAULT_LIMIT, MAX_LIMIT, Cursors, Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import FieldError, Forbidden, Invalid, NotFound
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import etag, expected_version

from . import queries, reads, service

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]
Change = Callable[[AsyncSession, Caller, UUID, int | None], Awaitable[dict[str, int]]]

_FILTERS = "state", "ownerId", "nodeId", "tag", "tenantId", "assigned"


@get("/v1/devices", guards=[requires("devices:read"), only_parameters(*_FILTERS)])
async def list_devices(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    in_state: Annotated[DeviceState | None, QueryParameter(name="state")] = None,
    owner_id: Annotated[UUID | None, QueryParameter(name="ownerId")] = None,
    node_id: Annotated[UUID | None, QueryParameter(name="nodeId")] = None,
    tag: Annotated[str | None, QueryParameter(max_length=40)] = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
    assigned: Annotated[bool | None, QueryParameter()] = None,
) -> Answer[Page[UUID]]:
    wanted = queries.DeviceFilter(
        state=in_state, owner_id=owner_id, node_id=node_id, tag=tag, tenant_id=tenant_id, assigned=assigned
    )
    async with database.reading() as session:
        return await queries.device_ids(session, caller, wanted, asked, cursors)


@get("/v1/devices/batch", guards=[requires("devices:read")])
async def get_cards(
    caller: NamedDependency[Caller], database: NamedDependency[Database], ids: Ids
) -> Answer[Many[DeviceSummary]]:
    return await reads.cards(database, caller, parse_ids(ids))


@get("/v1/devices/batch/full", guards=[requires("devices:read")])
async def get_devices(
    caller: NamedDependency[Caller], database: NamedDependency[Database], ids: Ids
) -> Answer[Many[Device]]:
    return await reads.devices(database, caller, parse_ids(ids))


@get("/v1/users/devices/batch", guards=[requires("devices:read")])
async def get_devices_held(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    ids: Ids,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> Answer[Many[DevicesHeld]]:
    if caller.data_scope != "all":
        raise Forbidden("Several users' devices are for who sees all tenants")
    return await reads.held_by(database, caller, parse_ids(ids), limit)


@get("/v1/devices/statistics", guards=[requires("devices:read")])
async def get_statistics(
    caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[DeviceStatistics]:
    async with database.reading() as session:
        return await queries.statistics(session, caller)


@post("/v1/devices", guards=[requires("devices:manage")])
async def create_device(
    request: Request[Any, Any, Any],
    data: JSONBody[DeviceCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    core: NamedDependency[CoreClients],
    provider: NamedDependency[Provider],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    tenant_id = await _tenant_of(caller, data.tenant_id, core)

    async def create(session: AsyncSession) -> Reply:
        device_id, announced = await service.create_device(session, caller, data, tenant_id, provider)
        answer = await queries.changed_device(session, caller, device_id, announced)
        headers = {"Location": f"/v1/devices/{device_id}", "ETag": etag(answer.data.version)}
        return Reply.of(answer, status=201, headers=headers)

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


@get("/v1/devices/{device_id:uuid}", guards=[requires("devices:read")])
async def get_device(
    device_id: FromPath[UUID], request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[Answer[Device]]:
    return _versioned(await reads.device(database, caller_of(request), device_id))


@patch("/v1/devices/{device_id:uuid}", guards=[requires("devices:write")])
async def change_device(
    device_id: FromPath[UUID],
    data: JSONBody[DevicePatch],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Device]]:
    async with database.writing() as session:
        announced = await service.change_device(session, caller, device_id, data, expected_version(if_match))
        return _versioned(await queries.changed_device(session, caller, device_id, announced))


@post("/v1/devices/{device_id:uuid}/assign", guards=[requires("devices:manage")])
async def assign_device(
    request: Request[Any, Any, Any],
    device_id: FromPath[UUID],
    data: JSONBody[DeviceAssign],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    core: NamedDependency[CoreClients],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    expected = expected_version(if_match)
    owner = await _owner(core, data.owner_id)

    async def assign(session: AsyncSession) -> Reply:
        announced = await service.assign_device(session, caller, device_id, owner, expected)
        answer = await queries.changed_device(session, caller, device_id, announced)
        return Reply.of(answer, status=200, headers={"ETag": etag(answer.data.version)})

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, assign)).response()


@post("/v1/devices/{device_id:uuid}/unassign", status_code=200, guards=[requires("devices:manage")])
async def unassign_device(
    device_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Device]]:
    return await _carry_out(service.unassign_device, device_id, caller, database, if_match)


@post("/v1/devices/{device_id:uuid}/maintenance", status_code=200, guards=[requires("devices:manage")])
async def enter_maintenance(
    device_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Device]]:
    return await _carry_out(service.enter_maintenance, device_id, caller, database, if_match)


@post("/v1/devices/{device_id:uuid}/idle", status_code=200, guards=[requires("devices:manage")])
async def leave_maintenance(
    device_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Device]]:
    return await _carry_out(service.leave_maintenance, device_id, caller, database, if_match)


@get("/v1/devices/{device_id:uuid}/history", guards=[requires("devices:read")])
async def get_history(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[StateChange]]:
    async with database.reading() as session:
        return await queries.history(session, caller, device_id)


@get("/v1/users/{user_id:uuid}/devices", guards=[requires("devices:read")])
async def get_devices_of_user(
    user_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[UUID]]:
    async with database.reading() as session:
        return await queries.devices_of(session, caller, user_id)


async def _carry_out(
    change: Change, device_id: UUID, caller: Caller, database: Database, if_match: str | None
) -> Response[Answer[Device]]:
    async with database.writing() as session:
        announced = await change(session, caller, device_id, expected_version(if_match))
        return _versioned(await queries.changed_device(session, caller, device_id, announced))


def _versioned(answer: Answer[Device]) -> Response[Answer[Device]]:
    return Response(answer, headers={"ETag": etag(answer.data.version)}, status_code=200)


async def _owner(core: CoreClients, user_id: UUID) -> User:
    try:
        return await core.user.get(user_id)
    except NotFound:
        raise service.unknown_owner(user_id) from None


async def _tenant_of(caller: Caller, wanted: UUID | None, core: CoreClients) -> UUID:
    """The caller's own tenant unless another is named. Raises Forbidden, and Invalid for one that is not there."""
    if wanted is None or str(wanted) == caller.tenant_id:
        if not caller.tenant_id:
            raise Invalid(
                "Name the tenant: the caller has none", errors=[FieldError(field="tenantId", message="missing")]
            )
        return UUID(caller.tenant_id)
    if caller.data_scope != "all":
        raise Forbidden("Only a caller who sees all tenants may name another one")
    try:
        await core.user.tenant(wanted)
    except NotFound:
        message = f"there is no tenant {wanted}"
        raise Invalid(message.capitalize(), errors=[FieldError(field="tenantId", message=message)]) from None
    return wanted


DEVICE_ROUTES = [
    list_devices,
    get_cards,
    get_devices,
    get_devices_held,
    get_statistics,
    create_device,
    get_device,
    change_device,
    assign_device,
    unassign_device,
    enter_maintenance,
    leave_maintenance,
    get_history,
    get_devices_of_user,
]

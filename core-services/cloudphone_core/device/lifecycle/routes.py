"""What is asked of devices' lives, and the operations that do it, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.device import DeviceRun, DeviceStart
from cloudphone_shared.contracts.operation import (
    Batch,
    BatchCreate,
    BatchItem,
    Operation,
    OperationError,
    OperationKind,
    OperationState,
)
from cloudphone_shared.database import Cursors, Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import DomainError
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from ..models import OperationRow
from ..operations import queries as operations
from ..operations.queries import OperationFilter, shown
from . import cancelling, commands, runs

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]
Request_ = Request[Any, Any, Any]
Produce = Callable[[AsyncSession], Awaitable[Reply]]


def accepted(row: OperationRow, announced: dict[str, int]) -> Reply:
    """202 with the operation, and where to look for it."""
    answer = Answer(data=shown(row), entities=announced)
    return Reply.of(answer, status=202, headers={"Location": f"/v1/operations/{row.id}"})


async def once(
    request: Request_, database: Database, caller: Caller, key: str | None, produce: Produce
) -> Response[Any]:
    asked = request_hash(caller.id, request.method, request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, key, asked, produce)).response()


def _commanding(kind: OperationKind) -> HTTPRouteHandler:
    """POST /v1/devices/{id}/<kind>, without a body."""

    async def ask(
        request: Request[Any, Any, Any],
        device_id: FromPath[UUID],
        caller: NamedDependency[Caller],
        database: NamedDependency[Database],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Any]:
        async def produce(session: AsyncSession) -> Reply:
            return accepted(*await commands.command(session, caller, kind, device_id, expected_version(if_match)))

        return await once(request, database, caller, idempotency_key, produce)

    ask.__name__ = f"{kind}_device"
    guard = requires(commands.PERMISSIONS[kind])
    return post(f"/v1/devices/{{device_id:uuid}}/{kind}", guards=[guard], status_code=202)(ask)


@post("/v1/devices/{device_id:uuid}/start", guards=[requires("devices:write")], status_code=202)
async def start_device(
    request: Request[Any, Any, Any],
    device_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    data: JSONBody[DeviceStart | None] = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    force = data is not None and data.force

    async def produce(session: AsyncSession) -> Reply:
        expected = expected_version(if_match)
        return accepted(*await commands.command(session, caller, "start", device_id, expected, force=force))

    return await once(request, database, caller, idempotency_key, produce)


@delete("/v1/devices/{device_id:uuid}", status_code=200, guards=[requires("devices:manage")])
async def delete_device(
    device_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Any]:
    """200 for a device that never had a volume, which is gone at once; else 202 with the operation."""
    async with database.writing() as session:
        row, announced = await commands.command(session, caller, "delete", device_id, expected_version(if_match))
        reply = accepted(row, announced)
        if row.state == "succeeded":
            reply = Reply.of(Answer(data=None, entities=announced), status=200)
    return reply.response()


@post("/v1/devices/batch", guards=[requires("devices:write")], status_code=202)
async def command_devices(
    request: Request[Any, Any, Any],
    data: JSONBody[BatchCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def produce(session: AsyncSession) -> Reply:
        batch_id, answers, announced = await commands.command_all(session, caller, data.action, data.device_ids)
        items = [_item(device_id, answer) for device_id, answer in answers.items()]
        batch = Batch(id=batch_id, action=data.action, items=items)
        headers = {"Location": f"/v1/operations?batchId={batch_id}"}
        return Reply.of(Answer(data=batch, entities=announced), status=202, headers=headers)

    return await once(request, database, caller, idempotency_key, produce)


@get("/v1/operations", guards=[requires("devices:read"), only_parameters("deviceId", "kind", "state", "batchId")])
async def list_operations(
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    kind: Annotated[OperationKind | None, QueryParameter()] = None,
    in_state: Annotated[OperationState | None, QueryParameter(name="state")] = None,
    batch_id: Annotated[UUID | None, QueryParameter(name="batchId")] = None,
) -> Answer[Page[Operation]]:
    wanted = OperationFilter(device_id=device_id, kind=kind, state=in_state, batch_id=batch_id)
    async with database.reading() as session:
        return await operations.operations(session, caller, wanted, asked, cursors)


@get("/v1/operations/{operation_id:uuid}", guards=[requires("devices:read")])
async def get_operation(
    operation_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Operation]:
    async with database.reading() as session:
        return await operations.operation(session, caller, operation_id)


@post("/v1/operations/{operation_id:uuid}/cancel", guards=[requires("devices:write")], status_code=202)
async def cancel_operation(
    request: Request[Any, Any, Any],
    operation_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def produce(session: AsyncSession) -> Reply:
        return accepted(*await cancelling.cancel(session, caller, operation_id))

    return await once(request, database, caller, idempotency_key, produce)


@get("/v1/devices/{device_id:uuid}/operations", guards=[requires("devices:read")])
async def get_operations_of_device(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[list[Operation]]:
    async with database.reading() as session:
        return await operations.operations_of(session, caller, device_id)


@get("/v1/device-runs", guards=[requires("devices:read")])
async def get_runs(
    caller: NamedDependency[Caller], database: NamedDependency[Database], ids: Ids
) -> Answer[Many[DeviceRun]]:
    async with database.reading() as session:
        return await runs.runs(session, caller, parse_ids(ids))


def _item(device_id: UUID, answer: OperationRow | DomainError) -> BatchItem:
    if isinstance(answer, DomainError):
        problem = OperationError(code=answer.code, detail=answer.detail or answer.title)
        return BatchItem(device_id=device_id, problem=problem)
    return BatchItem(device_id=device_id, operation=shown(answer))


LIFECYCLE_ROUTES = [
    start_device,
    *(_commanding(kind) for kind in ("stop", "reboot", "reset", "clean", "freeze", "unfreeze")),
    delete_device,
    command_devices,
    list_operations,
    get_operation,
    cancel_operation,
    get_operations_of_device,
    get_runs,
]

"""Long work on devices, from the device service as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.operation import Operation, OperationKind, OperationState
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/operations",
    tags=["operations"],
    guards=[staff("devices:read"), only_parameters("deviceId", "kind", "state", "batchId")],
    responses=problems(),
)
async def list_operations(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    kind: Annotated[OperationKind | None, QueryParameter()] = None,
    present_state: Annotated[OperationState | None, QueryParameter(name="state")] = None,
    batch_id: Annotated[UUID | None, QueryParameter(name="batchId")] = None,
) -> Page[Operation]:
    """Operations, latest first."""
    listing = asked.listing(deviceId=device_id, kind=kind, state=present_state, batchId=batch_id)
    return await core.device.operation_page(listing, bearer=passing_on(caller))


@get(
    "/admin/operations/{operation_id:uuid}",
    tags=["operations"],
    guards=[staff("devices:read")],
    responses=problems(404),
)
async def show_operation(
    operation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Operation:
    """An operation: how far it is, what came of it, or why it failed."""
    return await core.device.operation(operation_id, bearer=passing_on(caller))


@get(
    "/admin/devices/{device_id:uuid}/operations",
    tags=["operations"],
    guards=[staff("devices:read")],
    responses=problems(404),
)
async def list_device_operations(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[Operation]:
    """A device's last 50 operations, latest first."""
    return await core.device.operations(device_id, bearer=passing_on(caller))

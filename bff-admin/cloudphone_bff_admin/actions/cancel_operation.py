"""Giving up long work."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.operation import Operation
from cloudphone_shared.http.operations import accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/operations/{operation_id:uuid}/cancel",
    status_code=202,
    tags=["operations"],
    guards=[staff("devices:write")],
    responses=problems(404, 409),
)
async def cancel_operation(
    operation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[Operation]:
    """Asks for an operation to be given up. It ends at its next step, unless it is past that."""
    operation = await core.device.cancel_operation(operation_id, passing_on(caller))
    return accepted(f"/admin/operations/{operation.id}", operation)

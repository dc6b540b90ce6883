"""A request for a device, withdrawn."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import AllocationRequest
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/allocation-requests/{request_id:uuid}",
    status_code=200,
    tags=["allocations"],
    guards=[staff("allocations:manage")],
    responses=problems(404, 409),
)
async def cancel_allocation_request(
    request_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> AllocationRequest:
    """Takes a request out of the queue."""
    return await core.scheduler.cancel(request_id, passing_on(caller))

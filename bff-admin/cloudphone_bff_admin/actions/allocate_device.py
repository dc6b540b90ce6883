"""A device for a user, whichever fits."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import AllocationCreate, AllocationRequest
from cloudphone_shared.http.operations import IdempotencyKey, accepted, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_PLACED = ResponseSpec(AllocationRequest, description="Placed, with its allocation", generate_examples=False)


@post(
    "/admin/allocations",
    status_code=202,
    tags=["allocations"],
    guards=[staff("allocations:manage")],
    responses={201: _PLACED, **problems(404, 409, 413, 415, 422)},
)
async def allocate_device(
    data: JSONBody[AllocationCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[AllocationRequest]:
    """Reserves a device that fits for a user. What fits nowhere waits in the queue if it may, and is refused if not."""
    request = await core.scheduler.allocate(data, passing_on(caller), idempotency_key=idempotency_key)
    if request.allocation is not None:
        return created(f"/admin/allocations/{request.allocation.id}", request)
    return accepted(f"/admin/allocation-requests/{request.id}", request)

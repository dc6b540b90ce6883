"""A longer lease."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import Allocation, AllocationRenew
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/allocations/{allocation_id:uuid}/renew",
    status_code=200,
    tags=["allocations"],
    guards=[staff("allocations:manage")],
    responses=problems(404, 409, 413, 415),
)
async def renew_allocation(
    allocation_id: FromPath[UUID],
    data: JSONBody[AllocationRenew],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> Allocation:
    """Begins an allocation's lease anew."""
    return await core.scheduler.renew(allocation_id, data, passing_on(caller))

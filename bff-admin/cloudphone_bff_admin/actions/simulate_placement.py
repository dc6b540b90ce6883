"""What a request for a device would get."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import AllocationCreate, Placement
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/placements/simulate",
    status_code=200,
    tags=["allocations"],
    guards=[staff("allocations:read")],
    responses=problems(404, 413, 415),
)
async def simulate_placement(
    data: JSONBody[AllocationCreate], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Placement:
    """Says which device a request would get now, and of every node why it fits or does not. Nothing is reserved."""
    return await core.scheduler.simulate(data, passing_on(caller))

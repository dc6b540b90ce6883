"""How the scheduler chooses from now on."""

from litestar import put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import SchedulerSettings
from cloudphone_shared.http.problems import problems

from ..staff import overseer


@put(
    "/admin/scheduler/settings",
    tags=["allocations"],
    guards=[overseer("allocations:manage")],
    responses=problems(413, 415),
)
async def change_scheduler_settings(
    data: JSONBody[SchedulerSettings], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> SchedulerSettings:
    """Chooses the strategy by which devices are placed, for every tenant."""
    return await core.scheduler.change_settings(data, passing_on(caller))

"""The scheduler's own: how its nodes do, and how it chooses."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.scheduler import NodeResources, SchedulerSettings
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/scheduler/nodes", tags=["allocations"], guards=[staff("allocations:read")], responses=problems())
async def list_scheduler_nodes(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[NodeResources]:
    """Every node's health, capacity and free devices, by name."""
    return await core.scheduler.nodes(bearer=passing_on(caller))


@get("/admin/scheduler/settings", tags=["allocations"], guards=[staff("allocations:read")], responses=problems())
async def show_scheduler_settings(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> SchedulerSettings:
    """How the scheduler chooses among the nodes that fit."""
    return await core.scheduler.settings(bearer=passing_on(caller))

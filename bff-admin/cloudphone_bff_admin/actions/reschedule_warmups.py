"""Another schedule for the warm-up."""

from litestar import put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts.warmup import WarmupSchedule, WarmupStatus
from cloudphone_shared.http.problems import problems

from ..staff import staff


@put(
    "/admin/warmups/schedule",
    tags=["warmups"],
    guards=[staff("warmups:manage")],
    responses=problems(413, 415),
)
async def reschedule_warmups(
    data: JSONBody[WarmupSchedule],
    warmups: NamedDependency[WarmupClient],
    caller: NamedDependency[Caller],
) -> WarmupStatus:
    """Replaces the schedule; five cron fields in UTC."""
    return await warmups.reschedule(data, bearer=passing_on(caller))

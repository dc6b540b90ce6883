"""A warm-up, now."""

from litestar import post
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts.warmup import WarmupRun
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/warmups/runs",
    status_code=200,
    tags=["warmups"],
    guards=[staff("warmups:manage")],
    responses=problems(),
)
async def run_warmup(
    warmups: NamedDependency[WarmupClient],
    caller: NamedDependency[Caller],
) -> WarmupRun:
    """Starts a run, or answers with the one that is queued or running."""
    return await warmups.trigger(bearer=passing_on(caller))

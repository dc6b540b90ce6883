"""Resuming the warm-up's schedule."""

from litestar import post
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts.warmup import WarmupStatus
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/warmups/resume",
    status_code=200,
    tags=["warmups"],
    guards=[staff("warmups:manage")],
    responses=problems(),
)
async def resume_warmups(
    warmups: NamedDependency[WarmupClient],
    caller: NamedDependency[Caller],
) -> WarmupStatus:
    """Scheduled runs come again."""
    return await warmups.resume(bearer=passing_on(caller))

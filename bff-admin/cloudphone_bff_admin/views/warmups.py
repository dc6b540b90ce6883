"""The warm-up as the cache worker tells of it."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients.warmup import WarmupClient
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.warmup import WarmupRun, WarmupStatus
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/warmups", tags=["warmups"], guards=[staff("warmups:read")], responses=problems())
async def show_warmups(warmups: NamedDependency[WarmupClient], caller: NamedDependency[Caller]) -> WarmupStatus:
    """The schedule, the present run and the last one."""
    return await warmups.status(bearer=passing_on(caller))


@get("/admin/warmups/runs", tags=["warmups"], guards=[staff("warmups:read")], responses=problems())
async def list_warmup_runs(
    warmups: NamedDependency[WarmupClient],
    caller: NamedDependency[Caller],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, QueryParameter(max_length=2000)] = None,
) -> Page[WarmupRun]:
    """Runs, latest first."""
    return await warmups.runs(limit=limit, cursor=cursor, bearer=passing_on(caller))


@get("/admin/warmups/runs/{run_id:uuid}", tags=["warmups"], guards=[staff("warmups:read")], responses=problems(404))
async def show_warmup_run(
    run_id: FromPath[UUID], warmups: NamedDependency[WarmupClient], caller: NamedDependency[Caller]
) -> WarmupRun:
    """A run with its counts and failures."""
    return await warmups.run(run_id, bearer=passing_on(caller))

"""The end of a plan."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/plans/{plan_id:uuid}",
    tags=["plans"],
    guards=[staff("plans:manage")],
    responses=problems(404, 409),
)
async def delete_plan(
    plan_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> None:
    """Deletes a plan that was never ordered."""
    await core.billing.delete_plan(plan_id, passing_on(caller))

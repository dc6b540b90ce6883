"""A new plan."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Plan, PlanCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/plans",
    tags=["plans"],
    guards=[staff("plans:manage")],
    responses=problems(409, 413, 415, 422),
)
async def create_plan(
    data: JSONBody[PlanCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Plan]:
    """Makes a plan."""
    plan = await core.billing.create_plan(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/plans/{plan.id}", plan)

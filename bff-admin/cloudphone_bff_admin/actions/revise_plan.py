"""A plan's next version."""

from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.billing import Plan, PlanRevise
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/plans/{plan_id:uuid}/revisions",
    tags=["plans"],
    guards=[staff("plans:manage")],
    responses=problems(404, 409, 413, 415, 422),
)
async def revise_plan(
    plan_id: FromPath[UUID],
    data: JSONBody[PlanRevise],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response[Plan]:
    """Gives a plan a new price, period, hours, template or rule, for orders and renewals from now on."""
    plan = await core.billing.revise_plan(plan_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/plans/{plan.id}", plan)

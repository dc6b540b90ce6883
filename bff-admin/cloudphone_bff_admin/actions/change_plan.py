"""A plan's name, or whether it is sold."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Plan, PlanPatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/plans/{plan_id:uuid}",
    tags=["plans"],
    guards=[staff("plans:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_plan(
    plan_id: FromPath[UUID],
    data: JSONBody[PlanPatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Plan:
    """Renames a plan, or takes it from or into sale."""
    return await core.billing.change_plan(plan_id, data, passing_on(caller), if_match=if_match)

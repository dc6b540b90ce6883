"""The plans, from the billing service as they stand."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/plans", tags=["plans"], guards=[staff("plans:read")], responses=problems())
async def list_plans(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Plan]:
    """All plans: those on sale first, then by name."""
    return await core.billing.plans(bearer=passing_on(caller))


@get("/admin/plans/{plan_id:uuid}", tags=["plans"], guards=[staff("plans:read")], responses=problems(404))
async def show_plan(
    plan_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Plan:
    """A plan."""
    return await core.billing.plan(plan_id, bearer=passing_on(caller))

"""The plans, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Plan, PlanRevision
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/plans", tags=["plans"], guards=[staff("plans:read"), only_parameters("active")], responses=problems())
async def list_plans(
    core: Core,
    caller: Who,
    asked: Asked,
    active: Annotated[bool | None, QueryParameter()] = None,
) -> Page[Plan]:
    """Plans: those on sale first, then by name, unless sorted by `name`, `price`, `active` or `createdAt`; `-` before
    it descends."""
    return await core.billing.plan_page(asked.listing(active=active), bearer=passing_on(caller))


@get("/admin/plans/{plan_id:uuid}", tags=["plans"], guards=[staff("plans:read")], responses=problems(404))
async def show_plan(plan_id: FromPath[UUID], core: Core, caller: Who) -> Plan:
    """A plan."""
    return await core.billing.plan(plan_id, bearer=passing_on(caller))


@get("/admin/plans/{plan_id:uuid}/revisions", tags=["plans"], guards=[staff("plans:read")], responses=problems(404))
async def list_plan_revisions(plan_id: FromPath[UUID], core: Core, caller: Who) -> list[PlanRevision]:
    """A plan's versions; each order keeps the one that it was made at."""
    return await core.billing.plan_revisions(plan_id, bearer=passing_on(caller))

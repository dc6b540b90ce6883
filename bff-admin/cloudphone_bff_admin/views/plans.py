"""The plans, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/plans", tags=["plans"], guards=[staff("plans:read"), only_parameters("active")], responses=problems())
async def list_plans(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    active: Annotated[bool | None, QueryParameter()] = None,
) -> Page[Plan]:
    """Plans: those on sale first, then by name, unless sorted by `name`, `price`, `active` or `createdAt`; `-` before
    it descends."""
    return await core.billing.plan_page(asked.listing(active=active), bearer=passing_on(caller))


@get("/admin/plans/{plan_id:uuid}", tags=["plans"], guards=[staff("plans:read")], responses=problems(404))
async def show_plan(
    plan_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Plan:
    """A plan."""
    return await core.billing.plan(plan_id, bearer=passing_on(caller))

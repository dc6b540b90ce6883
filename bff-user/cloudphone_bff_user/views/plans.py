"""What can be ordered, from the billing service as it stands."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems


@get("/plans", tags=["orders"], guards=[requires("plans:read"), only_parameters()], responses=problems())
async def list_plans(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller], asked: NamedDependency[ListQuery]
) -> Page[Plan]:
    """Plans that can be ordered, by name unless sorted by `price` or `createdAt`; `-` before it descends."""
    return await core.billing.plan_page(asked.listing(active=True), bearer=passing_on(caller))

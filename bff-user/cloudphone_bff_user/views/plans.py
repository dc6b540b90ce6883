"""What can be ordered, from the billing service as it stands."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@get("/plans", tags=["orders"], guards=[requires("plans:read")], responses=problems())
async def list_plans(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Plan]:
    """Plans that can be ordered, by name."""
    return [plan for plan in await core.billing.plans(bearer=passing_on(caller)) if plan.active]

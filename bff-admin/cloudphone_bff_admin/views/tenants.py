"""The tenants, from the user service as they stand."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import Tenant
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/tenants", tags=["tenants"], guards=[staff("users:read")], responses=problems())
async def list_tenants(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Tenant]:
    """The tenants that the caller sees."""
    return await core.user.tenants(bearer=passing_on(caller))

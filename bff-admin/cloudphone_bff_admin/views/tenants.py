"""The tenants, from the user service as they stand."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.user import Tenant
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/tenants", tags=["tenants"], guards=[staff("users:read"), only_parameters()], responses=problems())
async def list_tenants(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller], asked: NamedDependency[ListQuery]
) -> Page[Tenant]:
    """The tenants that the caller sees. Sorted by `name`, `slug` or `createdAt`; `-` before it descends."""
    return await core.user.tenant_page(asked.listing(), bearer=passing_on(caller))

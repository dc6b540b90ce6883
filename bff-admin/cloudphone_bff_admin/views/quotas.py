"""How much users may have, from the user service as it stands."""

from uuid import UUID

from litestar import get
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.quota import Quota, TenantQuota
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("quotas:read")


@get("/admin/users/{user_id:uuid}/quotas", tags=["quotas"], guards=[_READ], responses=problems(404))
async def list_quotas(user_id: FromPath[UUID], core: Core, caller: Who) -> list[Quota]:
    """How much of what a user may have, whose limit that is, and how much of it is used."""
    return await core.user.quotas(user_id, bearer=passing_on(caller))


@get("/admin/tenants/{tenant_id:uuid}/quotas", tags=["quotas"], guards=[_READ], responses=problems(404))
async def list_tenant_quotas(tenant_id: FromPath[UUID], core: Core, caller: Who) -> list[TenantQuota]:
    """How much each of a tenant's users may have who has no limit of his own."""
    return await core.user.tenant_quotas(tenant_id, bearer=passing_on(caller))


QUOTAS = [list_quotas, list_tenant_quotas]

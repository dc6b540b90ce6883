"""How much a user, or each of a tenant's, may have."""

from uuid import UUID

from litestar import put
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.quota import Quota, QuotaSet, Resource, TenantQuota
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("quotas:manage")]
_RESPONSES = problems(404, 409, 413, 415)


@put(
    "/admin/users/{user_id:uuid}/quotas/{resource:str}",
    tags=["quotas"],
    guards=_GUARDS,
    responses=_RESPONSES,
)
async def set_quota(
    user_id: FromPath[UUID], resource: FromPath[Resource], data: JSONBody[QuotaSet], core: Core, caller: Who
) -> Quota:
    """Sets a user's own limit, or takes it away. What he has beyond it he keeps."""
    return await core.user.set_quota(user_id, resource, data, passing_on(caller))


@put(
    "/admin/tenants/{tenant_id:uuid}/quotas/{resource:str}",
    tags=["quotas"],
    guards=_GUARDS,
    responses=_RESPONSES,
)
async def set_tenant_quota(
    tenant_id: FromPath[UUID], resource: FromPath[Resource], data: JSONBody[QuotaSet], core: Core, caller: Who
) -> TenantQuota:
    """Sets a tenant's limit for each of its users, or takes it away."""
    return await core.user.set_tenant_quota(tenant_id, resource, data, passing_on(caller))


QUOTA_SETTING = [set_quota, set_tenant_quota]

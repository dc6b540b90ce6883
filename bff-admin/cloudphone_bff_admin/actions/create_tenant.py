"""A new tenant."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import Tenant, TenantCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/tenants",
    tags=["tenants"],
    guards=[staff("users:manage")],
    responses=problems(409, 413, 415, 422),
)
async def create_tenant(
    data: JSONBody[TenantCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Tenant]:
    """Makes a tenant."""
    tenant = await core.user.create_tenant(data, passing_on(caller), idempotency_key=idempotency_key)
    return created("/admin/tenants", tenant)

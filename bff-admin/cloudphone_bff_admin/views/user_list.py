"""The list of users, from the user service as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.user import Role, User, UserStatus
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/users",
    tags=["users"],
    guards=[staff("users:read"), only_parameters("status", "role", "tenantId")],
    responses=problems(),
)
async def list_users(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    status: Annotated[UserStatus | None, QueryParameter()] = None,
    role: Annotated[Role | None, QueryParameter()] = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
) -> Page[User]:
    """Users. Sorted by `name`, `email`, `createdAt` or `lastActiveAt`; `-` before it descends."""
    return await core.user.page(asked.listing(status=status, role=role, tenantId=tenant_id), bearer=passing_on(caller))

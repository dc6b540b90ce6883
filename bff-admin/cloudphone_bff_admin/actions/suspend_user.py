"""Closing an account for a while."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import User, UserSuspend
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/users/{user_id:uuid}/suspend",
    status_code=200,
    tags=["users"],
    guards=[staff("users:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def suspend_user(
    user_id: FromPath[UUID],
    data: JSONBody[UserSuspend],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> User:
    """Suspends an account and ends its sessions."""
    return await core.user.suspend(user_id, data, passing_on(caller), if_match=if_match)

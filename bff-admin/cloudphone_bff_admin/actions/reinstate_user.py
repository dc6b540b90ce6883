"""Opening a suspended account."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import User
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/users/{user_id:uuid}/reinstate",
    status_code=200,
    tags=["users"],
    guards=[staff("users:manage")],
    responses=problems(404, 409, 412),
)
async def reinstate_user(
    user_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> User:
    """Reinstates a suspended account."""
    return await core.user.reinstate(user_id, passing_on(caller), if_match=if_match)

"""An account's fields."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import User, UserPatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/users/{user_id:uuid}",
    tags=["users"],
    guards=[staff("users:write")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_user(
    user_id: FromPath[UUID],
    data: JSONBody[UserPatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> User:
    """Changes an account; what is left out stays."""
    return await core.user.change(user_id, data, passing_on(caller), if_match=if_match)

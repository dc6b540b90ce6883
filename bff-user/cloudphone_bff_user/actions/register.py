"""A new customer's account."""

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import Registration
from cloudphone_shared.http.app import PUBLIC
from cloudphone_shared.http.operations import created
from cloudphone_shared.http.problems import problems
from cloudphone_shared.http.sign_in import Attempts

from ..views.my_profile import Profile


@post("/auth/register", opt=PUBLIC, security=[{}], tags=["auth"], responses=problems(404, 409, 413, 415))
async def register(
    data: JSONBody[Registration],
    request: Request[Any, Any, Any],
    core: NamedDependency[CoreClients],
    attempts: NamedDependency[Attempts],
) -> Response[Profile]:
    """Opens an account with the tenant named by its slug; sign in with it afterwards."""
    await attempts.sign_in(data.email, request)
    return created("/my/profile", Profile.of(await core.user.register(data)))

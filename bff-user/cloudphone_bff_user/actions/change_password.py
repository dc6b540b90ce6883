"""The caller's own password."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import PasswordChange
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@post(
    "/my/password",
    status_code=204,
    tags=["profile"],
    guards=[requires("users:write")],
    responses=problems(413, 415),
)
async def change_password(
    data: JSONBody[PasswordChange], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> None:
    """Changes the caller's password and ends every session, this one included."""
    await core.user.change_password(data, passing_on(caller))

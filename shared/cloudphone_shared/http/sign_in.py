"""Signing in, the same through both BFFs: the user service decides, the BFF counts attempts."""

from typing import Any, Protocol, runtime_checkable

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ..auth import Caller, passing_on
from ..clients.core import CoreClients
from ..contracts.user import Credentials, RefreshRequest, Tokens
from .app import PUBLIC
from .problems import problems


@runtime_checkable
class Attempts(Protocol):
    """Both raise LimitExceeded."""

    async def sign_in(self, account: str, request: Request[Any, Any, Any]) -> None:
        """Counts an attempt for the account and for the address it comes from."""
        ...

    async def anonymous(self, request: Request[Any, Any, Any]) -> None:
        """Counts a request without a caller for the address it comes from."""
        ...


@post("/auth/login", opt=PUBLIC, status_code=200, security=[{}], tags=["auth"], responses=problems(413, 415))
async def login(
    data: JSONBody[Credentials],
    request: Request[Any, Any, Any],
    core: NamedDependency[CoreClients],
    attempts: NamedDependency[Attempts],
) -> Tokens:
    """Signs in with e-mail and password. The access token goes into `Authorization: Bearer …`."""
    await attempts.sign_in(data.email, request)
    return await core.user.login(data)


@post("/auth/refresh", opt=PUBLIC, status_code=200, security=[{}], tags=["auth"], responses=problems(413, 415))
async def refresh(
    data: JSONBody[RefreshRequest],
    request: Request[Any, Any, Any],
    core: NamedDependency[CoreClients],
    attempts: NamedDependency[Attempts],
) -> Tokens:
    """New tokens for a refresh token, which is good for once."""
    await attempts.anonymous(request)
    return await core.user.refresh(data)


@post("/auth/logout", status_code=204, tags=["auth"], responses=problems())
async def logout(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> None:
    """Ends every session of the caller; their access tokens are void at once."""
    await core.user.logout(passing_on(caller))


SIGN_IN = [login, refresh, logout]

"""The console is for staff: a customer's token opens nothing here, whatever it may do elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from cloudphone_shared.auth import Caller
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of


def require_staff(caller: Caller, permission: str) -> None:
    """Raises Forbidden."""
    if caller.role == "customer":
        raise Forbidden("The console is for staff")
    caller.require(permission)


def staff(permission: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: the caller is no customer and has the permission."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        require_staff(caller_of(connection), permission)

    return guard

"""The console is for staff: a customer's token opens nothing here, whatever it may do elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from cloudphone_cache import View
from cloudphone_cache.asgi import HotRoute
from cloudphone_cache.platform.serving import screen_options
from cloudphone_shared.auth import Caller
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of
from cloudphone_shared.http.operations import shows


def may(caller: Caller, permission: str) -> bool:
    return caller.role != "customer" and caller.may(permission)


def staff(permission: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: the caller is no customer and has the permission."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        caller = caller_of(connection)
        if caller.role == "customer":
            raise Forbidden("The console is for staff")
        caller.require(permission)

    return guard


def overseer(permission: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: as `staff`, and the caller sees every tenant's rows, as what is told here is of all tenants."""
    as_staff = staff(permission)

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        await as_staff(connection, handler)
        if caller_of(connection).data_scope != "all":
            raise Forbidden("This tells of every tenant; your account sees its own tenant's alone")

    return guard


def screen(path: str, view: View[Any], permission: str, *refusals: int, tags: list[str]) -> get:
    """A GET that shows `view` to staff with the permission; proven hits are answered in front of the app.

    `refusals` are the problems it may answer beside the usual ones.
    """
    hot = HotRoute[Caller](path.replace(":uuid", ""), view, lambda caller: may(caller, permission))
    return get(
        path, tags=tags, guards=[staff(permission)], responses=shows(view.shape, *refusals), opt=screen_options(hot)
    )

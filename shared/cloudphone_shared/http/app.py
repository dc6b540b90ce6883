"""The app every HTTP process is: problem documents, request ids, health, metrics, limits on the body, callers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from ..auth import Caller, TokenVerifier
from ..errors import DomainError, FieldError, Invalid, Unauthorized, Unavailable
from ..observability.metrics import CONTENT_TYPE, exposition
from .edge import CALLER, REFUSED_TOKEN, Admission, Edge
from .problems import bug, http_error, refused, unavailable

Check = Callable[[], Awaitable[bool]]
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]

PUBLIC = {"public": True}
"""A handler's `opt` when it needs no caller."""


def requires(permission: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: the caller must have the permission. Litestar's synchronous guards cost 88 µs; this one is not."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        caller_of(connection).require(permission)

    return guard


def caller_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """Raises Unauthorized, or Unavailable when tokens cannot be verified now."""
    found = cast("Mapping[str, Any]", connection.scope)
    caller: Caller | None = found.get(CALLER)
    if caller is None:
        raise found.get(REFUSED_TOKEN) or Unauthorized("Send: Authorization: Bearer <access token>")
    return caller


async def signed_in(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if not handler.opt.get("public"):
        caller_of(connection)


# Handlers that are asked most take the request instead, and `caller_of` it: two dependencies are resolved in a task
# group, which is an eighth of a read.
async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    return caller_of(request)


class StrictRequest(Request[Any, Any, Any]):
    """Litestar turns JSON that cannot be parsed into a 400, but not what is no UTF-8 or nested too deep; and to it
    the text "5", like 5.0 and 5e0, is a whole number, and the text "null" is nothing.
    """

    __slots__ = ()

    async def json(self) -> Any:
        try:
            body = await super().json()
        except UnicodeDecodeError:
            raise Invalid("The body is not UTF-8") from None
        except RecursionError:
            raise Invalid("The body is nested too deep") from None
        declared = self.scope["route_handler"].parsed_data_field
        wanted = declared.annotation if declared else None
        if not isinstance(wanted, type) or not issubclass(wanted, msgspec.Struct):
            return body
        return _as(wanted, body)


def _as(wanted: type[msgspec.Struct], body: Any) -> Any:
    """`body` itself where Litestar will find, and tell better, what is wrong with it."""
    try:
        return msgspec.convert(body, wanted)
    except msgspec.ValidationError as error:
        try:
            msgspec.convert(body, wanted, strict=False)
        except msgspec.ValidationError:
            return body
        message, _, place = str(error).partition(" - at `$.")
        raise Invalid(errors=[FieldError(field=place.rstrip("`"), message=message)]) from None


def create_app(
    name: str,
    handlers: Sequence[ControllerRouterHandler],
    *,
    verifier: TokenVerifier | None = None,
    ready: Mapping[str, Check] | None = None,
    lifespan: Sequence[Lifespan] = (),
    dependencies: Mapping[str, Provide] | None = None,
    openapi: OpenAPIConfig | None = None,
    body_limit_bytes: int = 1_048_576,
    admit: Admission | None = None,
    still_valid: Callable[[Caller], bool] = lambda caller: True,
    **litestar: Any,
) -> Edge:
    """An ASGI app; `.litestar` is the inner one. `ready` names what must answer for the process to take traffic.

    Every handler needs a caller (dependency `caller`) unless its `opt` is `PUBLIC`.
    """

    @contextlib.asynccontextmanager
    async def verifying(app: Litestar) -> AsyncGenerator[None]:
        if verifier is None:
            yield
            return
        fetching = asyncio.create_task(verifier.prefetch())
        yield
        fetching.cancel()
        await verifier.close()

    app = Litestar(
        [*handlers, *_operations(ready or {})],
        guards=[signed_in],
        dependencies={"caller": Provide(provide_caller), **(dependencies or {})},
        exception_handlers={  # pyright: ignore[reportArgumentType]
            DomainError: refused,
            Unavailable: unavailable,
            HTTPException: http_error,
            Exception: bug,
        },
        lifespan=[verifying, *lifespan],
        request_class=StrictRequest,
        openapi_config=openapi,
        request_max_body_size=body_limit_bytes,
        logging_config=None,
        **litestar,
    )
    return Edge(name, app, verifier=verifier, admit=admit, still_valid=still_valid)


def _operations(ready: Mapping[str, Check]) -> list[ControllerRouterHandler]:
    @get("/health/live", opt=PUBLIC, include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @get("/health/ready", opt=PUBLIC, include_in_schema=False)
    async def readiness() -> Response[dict[str, Any]]:
        results = {name: await _holds(check) for name, check in ready.items()}
        good = all(results.values())
        return Response({"status": "ok" if good else "not ready", "checks": results}, status_code=200 if good else 503)

    @get("/metrics", opt=PUBLIC, include_in_schema=False)
    async def metrics() -> Response[bytes]:
        return Response(exposition(), media_type=CONTENT_TYPE)

    return [live, readiness, metrics]


async def _holds(check: Check) -> bool:
    try:
        return await check()
    except Exception:
        return False

"""What every request passes before its handler: id, deadline, caller, limit, metrics."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, cast

import structlog
from litestar import Litestar
from litestar.types import Message, Receive, Scope, Send

from ..auth import Caller, TokenVerifier
from ..errors import DomainError, Invalid, Unauthorized, Unavailable, encode_problem
from ..observability.metrics import REQUESTS, SECONDS
from ..observability.tracing import span
from .context import DEADLINE_HEADER, REQUEST_ID_HEADER, deadline, request_id, well_formed

CALLER = "cloudphone.caller"
"""Scope key of the verified Caller; absent when there is none."""
REFUSED_TOKEN = "cloudphone.refused_token"  # noqa: S105
"""Scope key of the Unauthorized or Unavailable that the token met; a public route does not mind."""
ADMITTED = "cloudphone.admitted"
"""Scope key that says the caller's limit has been counted already."""

_DRAINED_BYTES = 16 * 1024 * 1024
_DRAINED_SECONDS = 1.0
_DEADLINE = DEADLINE_HEADER.lower().encode()
_ID = REQUEST_ID_HEADER.lower().encode()


class Admission(Protocol):
    async def __call__(self, caller: Caller, scope: Scope) -> None:
        """Counts the request. Raises LimitExceeded."""
        ...


class Edge:
    """`deadline_seconds` is the most a request may take here, less if its caller has less.

    `admit` counts a caller's request unless a layer in front has; only BFFs have one.
    """

    def __init__(
        self,
        name: str,
        app: Litestar,
        *,
        verifier: TokenVerifier | None,
        deadline_seconds: float = 5.0,
        admit: Admission | None = None,
        still_valid: Callable[[Caller], bool] = lambda caller: True,
    ) -> None:
        self.name = name
        self.litestar = app
        self._verifier = verifier
        self._deadline_seconds = deadline_seconds
        self._admit = admit
        self._still_valid = still_valid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.litestar(scope, receive, send)
            return
        headers = dict(scope["headers"])
        rid = headers.get(_ID, b"")
        before = (
            request_id.set(rid.decode() if well_formed(rid) else uuid.uuid4().hex),
            deadline.set(time.monotonic() + self._seconds(headers.get(_DEADLINE))),
        )
        try:
            await self._watched(scope, receive, send, headers)
        finally:
            # A server gives each request a context of its own; an app called in process must give its caller's back.
            request_id.reset(before[0])
            deadline.reset(before[1])

    async def _watched(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id.get())
        found = cast("MutableMapping[str, Any]", scope)
        body = None if found["method"] in ("GET", "HEAD") else _Body(receive)
        watched = _Watched(self.name, scope, send, body)
        carrier = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        with span("http.server", carrier=carrier, server=True, app=self.name, path=scope["path"]):
            await self._answer(scope, body or receive, watched, headers.get(b"authorization"))
        watched.count()

    async def _answer(self, scope: Scope, receive: Receive, send: "_Watched", authorization: bytes | None) -> None:
        found = cast("MutableMapping[str, Any]", scope)
        try:
            if b"%00" in found.get("raw_path", b"") or b"%00" in scope["query_string"] or "\x00" in scope["path"]:
                raise Invalid("The URL contains a NUL character")
            if authorization is not None and CALLER not in found:
                await self._identify(found, authorization)
            if self._admit is not None and ADMITTED not in found and (caller := found.get(CALLER)) is not None:
                await self._admit(caller, scope)
        except DomainError as error:
            await respond(error, send)
            return
        await self.litestar(scope, receive, send)

    async def _identify(self, found: MutableMapping[str, Any], authorization: bytes) -> None:
        if self._verifier is None:
            return
        try:
            caller = await self._verifier.verify(authorization)
            if not self._still_valid(caller):
                raise Unauthorized("The session was closed")
        except (Unauthorized, Unavailable) as error:
            found[REFUSED_TOKEN] = error
            return
        found[CALLER] = caller
        structlog.contextvars.bind_contextvars(caller=caller.id, tenant=caller.tenant_id)

    def _seconds(self, header: bytes | None) -> float:
        if header is not None and header.isdigit() and len(header) < 10:
            return min(self._deadline_seconds, int(header) / 1000)
        return self._deadline_seconds


class _Body:
    """A request's body, of which the rest is read before a refusal goes out.

    The server closes a connection with a body unread, and a client that is still sending would lose the answer.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._whole = False

    async def __call__(self) -> Any:
        message: Any = await self._receive()
        self._whole = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Within bounds: a client that goes on and on is cut off."""
        left = _DRAINED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not self._whole and left > 0:
                    left -= len((await self()).get("body", b""))


class _Watched:
    """Passes messages on, adds the request's id, and counts what went out."""

    def __init__(self, name: str, scope: Scope, send: Send, body: _Body | None) -> None:
        self._name, self._send, self._body = name, send, body
        self._scope = cast("MutableMapping[str, Any]", scope)
        self._started = time.perf_counter()
        self._status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._body is not None and self._status >= 400:
                await self._body.drain()
            message["headers"] = [*message["headers"], (_ID, request_id.get().encode())]
        await self._send(message)

    def count(self) -> None:
        route = str(self._scope.get("path_template") or "unmatched")
        REQUESTS.labels(self._name, self._scope.get("method", ""), route, str(self._status)).inc()
        SECONDS.labels(self._name, route).observe(time.perf_counter() - self._started)


async def respond(error: DomainError, send: Callable[[Message], Awaitable[None]]) -> None:
    """The refusal as a problem document, from in front of the app."""
    body = encode_problem(error.problem(request_id.get()))
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers += [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

"""Cross-origin requests, for the origins that are named and no others."""

from collections.abc import Collection
from typing import Any

from litestar.types import Message, Receive, Scope, Send

_ALLOWED = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, fresh-after, idempotency-key, if-match, if-none-match",
    ),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = (
    b"access-control-expose-headers",
    b"age, cache-status, etag, fresh-after, location, retry-after, x-fresh-as-of, x-request-id, x-view-complete",
)


class CrossOrigin:
    """Round an app: answers preflights, and says of every other answer which of `origins` may read it."""

    def __init__(self, app: Any, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"]) if scope["type"] == "http" else {}
        origin = headers.get(b"origin")
        if scope["type"] != "http" or origin is None:
            await self._app(scope, receive, send)
            return
        granted = [(b"vary", b"origin")]
        if origin in self._origins:
            granted += [
                (b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), _EXPOSED
            ]  # fmt: skip
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _preflight(send, granted if origin not in self._origins else [*granted, *_ALLOWED])
            return

        async def allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *granted]}
            await send(message)

        await self._app(scope, receive, allowed)


async def _preflight(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})

"""Answers given in front of the app get an id and are counted, as the edge does for all others, for next to nothing."""

import secrets
from itertools import count
from typing import Any

from cloudphone_shared.http.context import REQUEST_ID_HEADER, request_id, well_formed
from cloudphone_shared.observability.metrics import REQUESTS

from ..asgi import App, HotRoute, Receive, Scope, Send
from ..response import Served

_ID = REQUEST_ID_HEADER.lower().encode()


class FrontLedger:
    """Counts in plain numbers, which become metrics when these are asked for. How long they took is not measured."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._counts: dict[tuple[str, int], int] = {}
        self._prefix = secrets.token_hex(10).encode()
        self._numbers = count()

    async def send(self, route: HotRoute[Any], answer: App, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._name(scope)
        if not isinstance(answer, Served):
            await self._refuse(route, answer, name, scope, receive, send)
            return
        self._count(route, answer.status)
        headers = [*answer.headers, (_ID, name)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    def settle(self) -> None:
        """Adds what was counted to the metrics."""
        counts, self._counts = self._counts, {}
        for (path, status), number in counts.items():
            REQUESTS.labels(self._app, "GET", path, str(status)).inc(number)

    async def _refuse(
        self, route: HotRoute[Any], answer: App, name: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._count(route, message["status"])
                message["headers"] = [*message["headers"], (_ID, name)]
            await send(message)

        before = request_id.set(name.decode())
        try:
            await answer(scope, receive, named)
        finally:
            request_id.reset(before)

    def _count(self, route: HotRoute[Any], status: int) -> None:
        key = (route.path, status)
        self._counts[key] = self._counts.get(key, 0) + 1

    def _name(self, scope: Scope) -> bytes:
        for name, value in scope["headers"]:
            if name == _ID and well_formed(value):
                return value
        # Unique as a random one is, for a fifth of the time.
        return b"%b%012x" % (self._prefix, next(self._numbers))

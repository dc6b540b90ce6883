"""Answers given in front of the app get an id and are counted, as the edge does for all others, for next to nothing."""

import secrets
from collections import defaultdict
from itertools import count
from typing import Any

from cloudphone_shared.http.context import REQUEST_ID_HEADER, request_id, well_formed
from cloudphone_shared.observability.metrics import REQUESTS

from ..asgi import App, HotRoute, Receive, Scope, Send
from ..response import Headers, Served

_ID = REQUEST_ID_HEADER.lower().encode()


class FrontLedger:
    """Counts in plain numbers, which become metrics when these are asked for. How long they took is not measured."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        # Unique as a random name is, for a fraction of the time.
        self._prefix = secrets.token_hex(10).encode()
        self._numbers = count(1 << 44)

    def headers(self, route: HotRoute[Any], served: Served, scope: Scope) -> Headers:
        self._counts[route.path, served.status] += 1
        for header, value in scope["headers"]:
            if header == _ID and well_formed(value):
                return [*served.headers, (_ID, value)]
        return [*served.headers, (_ID, b"%b%x" % (self._prefix, next(self._numbers)))]

    async def refuse(self, route: HotRoute[Any], refusal: App, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._counts[route.path, message["status"]] += 1
                message["headers"] = [*message["headers"], (_ID, name)]
            await send(message)

        sent = next((value for header, value in scope["headers"] if header == _ID and well_formed(value)), None)
        name = sent or b"%b%x" % (self._prefix, next(self._numbers))
        before = request_id.set(name.decode())
        try:
            await refusal(scope, receive, counted)
        finally:
            request_id.reset(before)

    def settle(self) -> None:
        """Adds what was counted to the metrics."""
        counts, self._counts = self._counts, defaultdict(int)
        for (path, status), number in counts.items():
            REQUESTS.labels(self._app, "GET", path, str(status)).inc(number)

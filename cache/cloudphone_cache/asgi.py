"""Proven hits answered in front of the app; everything else is passed on, its caller and limit already settled.

The limiter's command and the view's GET leave in one write, and one wake-up serves both.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from .aggregation import Cache, Looked
from .entry import Entry, load
from .freshness import token_in
from .pipelined import Later
from .redis import REDIS_ERRORS
from .response import L1, L2, Headers, Served
from .view import Audience, View

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
C = TypeVar("C")

_PATH = re.compile(r"([^{}]*?)(?:/\{(\w+)\}(?:/([^/{}]+))?)?").fullmatch
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


LOOKED = "cloudphone_cache.looked"
"""Scope key of what was found in Redis and could not be served: whoever reads the view need not look again."""


class Door(Protocol[C]):
    """What the process that serves the views decides about callers."""

    def identify(self, authorization: bytes) -> C | None:
        """A caller already known by this header; None leaves it to the app."""
        ...

    def sees(self, caller: C, audience: Audience) -> bool: ...

    def command(self, caller: C) -> tuple[bytes, bytes] | None:
        """The limiter's key and packed command; None for a caller without limits."""
        ...

    def refusal(self, caller: C, reply: object) -> App | None:
        """What to answer to a caller over the limit, None to one within it. `reply` is Redis' answer to the command,
        or the error met instead of it."""
        ...

    def mark(self, scope: Scope, caller: C) -> None:
        """Tells the app that this caller is identified and counted."""
        ...


class Ledger(Protocol):
    """What else is to be done about answers given in front of the app: naming and counting them."""

    def headers(self, route: "HotRoute[Any]", served: Served, scope: Scope) -> Headers:
        """The headers of a hit that is about to be sent."""
        ...

    async def refuse(self, route: "HotRoute[Any]", refusal: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the door's refusal."""
        ...


class HotRoute(Generic[C]):
    """`path` has one parameter, a UUID in lower case, with at most one word after it (`/devices/{id}/holder`), or none.

    `may` is asked before anything else; `params` gives the parameters that are the caller's own.
    """

    def __init__(
        self,
        path: str,
        view: View[Any],
        may: Callable[[C], bool] = lambda caller: True,
        params: Callable[[C], Mapping[str, object]] | None = None,
    ) -> None:
        self.path = path
        self.view = view
        self.may = may
        self._params = params
        found = _PATH(path)
        if found is None:
            raise ValueError(f"{path} has more than one parameter, or more than one word after it")
        self.prefix, self.parameter, self.suffix = found[1], found[2], found[3]
        # Most keys are a name and the path's parameter: those need no formatting.
        plain = params is None and view.template == f"{view.name}:{{{self.parameter}}}"
        self._plain = view.name + ":" if plain else None

    def key(self, caller: C, value: str) -> str | None:
        """The view's key; None if the path's parameter is not one."""
        if self._plain is not None:
            return self._plain + value if _UUID(value) is not None else None
        params = dict(self._params(caller)) if self._params else {}
        if self.parameter is not None:
            if _UUID(value) is None:
                return None
            params[self.parameter] = value
        return self.view.key_of(params)


class HotViews(Generic[C]):
    """An ASGI app round another. Only GETs without a query by callers already known are looked at here."""

    def __init__(
        self, app: App, cache: Cache, door: Door[C], routes: Sequence[HotRoute[C]], ledger: Ledger | None = None
    ) -> None:
        self._app = app
        self._ledger = ledger
        self._cache = cache
        self._door = door
        self._with = {route.prefix: route for route in routes if route.parameter is not None and route.suffix is None}
        self._within = {(route.prefix, route.suffix): route for route in routes if route.suffix is not None}
        self._without = {route.prefix: route for route in routes if route.parameter is None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            path: str = scope["path"]
            head, _, value = path.rpartition("/")
            route = self._with.get(head) or self._without.get(path)
            if route is None and self._within:
                head, _, before = head.rpartition("/")
                route, value = self._within.get((head, value)), before
            if route is not None and (answer := await self._answer(scope, route, value)) is not None:
                if self._ledger is None:
                    await answer(scope, receive, send)
                elif isinstance(answer, Served):
                    headers = self._ledger.headers(route, answer, scope)
                    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
                else:
                    await self._ledger.refuse(route, answer, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, route: HotRoute[C], value: str) -> App | None:
        authorization = if_none_match = token = None
        for name, text in scope["headers"]:
            if name == b"authorization":
                authorization = text
            elif name == b"if-none-match":
                if_none_match = text.decode("latin-1")
            elif name == b"fresh-after" or (name == b"cookie" and b"fresh-after=" in text):
                token = token_in(scope["headers"])
        if authorization is None or (caller := self._door.identify(authorization)) is None or not route.may(caller):
            return None
        key = route.key(caller, value)
        if key is None:
            return None
        if token is not None:
            self._cache.heed(token)
        answer = await self._settle(scope, route, caller, key, if_none_match)
        if token is not None and isinstance(answer, Served):
            return self._cache.remember(answer, token, secure=scope["scheme"] == "https")
        return answer

    async def _settle(
        self, scope: Scope, route: HotRoute[C], caller: C, key: str, if_none_match: str | None
    ) -> App | None:
        """The hit, or the limiter's refusal; None passes the request on, counted."""
        door, view = self._door, route.view
        entry = self._cache.near(view, key)
        counting = door.command(caller)
        if entry is not None:
            reply = None if counting is None else await self._count(*counting)
            source = L1
            if not self._cache.filler.usable(view, entry):
                # A change was heard while the limiter was asked.
                entry = None
        else:
            reply, entry, looked = await self._count_and_get(view, key, counting)
            source = L2
            scope[LOOKED] = looked
        if counting is not None and (refusal := door.refusal(caller, reply)) is not None:
            return refusal
        if entry is None or not self._cache.may_see(view, entry, lambda audience: door.sees(caller, audience)):
            door.mark(scope, caller)
            return None
        self._cache.counts["front"] += 1
        return self._cache.respond(view, key, entry, source, if_none_match)

    async def _count(self, limit_key: bytes, command: bytes) -> object:
        try:
            return await self._cache.store.ask(limit_key, command)
        except REDIS_ERRORS as error:
            return error

    async def _count_and_get(
        self, view: View[Any], key: str, counting: tuple[bytes, bytes] | None
    ) -> tuple[object, Entry | None, Looked | None]:
        store = self._cache.store
        counted: Later | None = None
        try:
            counted = store.later(*counting) if counting is not None else None
            stored = await store.get(key)
        except REDIS_ERRORS as error:
            return (error if counted is None else await counted.reply()), None, None
        # Replies come in order: by now the limiter's is there, unless it comes from another node.
        reply = None if counted is None else counted.value if counted.done else await counted.reply()
        entry = load(stored, view.schema) if stored else None
        if entry is None or not self._cache.filler.usable(view, entry):
            return reply, None, Looked(key, entry, "other-shape" if stored else "no-entry")
        self._cache.local.put(key, entry)
        return reply, entry, None

"""What a process that serves views stands on, between the HTTP kit and the cache: screens, writes, limits."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.types import Message, Receive, Scope, Send

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Many, Page
from cloudphone_shared.errors import DomainError, NotFound
from cloudphone_shared.http.app import caller_of
from cloudphone_shared.http.edge import ADMITTED, CALLER, respond
from cloudphone_shared.limits import Limiter, Subject, refusal

from ..aggregation import Cache, Looked
from ..asgi import LOOKED, App, HotRoute
from ..composition import Replicas, least, observed, observer
from ..freshness import token_headers, token_in
from ..redis import REDIS_ERRORS, pack
from ..response import Served
from ..view import Answered, Audience, Sees, View

T = TypeVar("T")
V = TypeVar("V")
Shape = TypeVar("Shape", bound=msgspec.Struct)

_SCREEN = "screen"


class Screens:
    """The cache as one request sees it: for its caller, and no older than its Fresh-After token says."""

    def __init__(
        self,
        cache: Cache,
        sees: Sees,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        secure: bool,
        looked: Looked | None = None,
    ) -> None:
        self._cache = cache
        self._sees = sees
        self._secure = secure
        self._looked = looked
        self._fresh_after = token_in(headers)
        self._if_none_match = next(
            (value.decode("latin-1") for name, value in headers if name == b"if-none-match"), None
        )

    async def show(self, view: View[Any], **params: UUID | str) -> Served:
        """Raises what the view's primary service refused with; NotFound also for who may not see it."""
        served = await self._cache.read(
            view, params, self._sees, fresh_after=self._fresh_after, if_none_match=self._if_none_match,
            looked=self._looked,
        )  # fmt: skip
        if self._fresh_after is None:
            return served
        return self._cache.remember(served, self._fresh_after, secure=self._secure)

    async def cards(
        self, view: View[Shape], params: Sequence[Mapping[str, object]], next_cursor: str | None
    ) -> Response[Page[Shape]]:
        """A page of views. One that vanished since the page was read is left out."""
        if self._fresh_after is not None:
            self._cache.heed(self._fresh_after)
        found = await self._cache.read_many(view, params, self._sees)
        page = Page(items=[card for card in found if card is not None], next_cursor=next_cursor)
        return Response(cast("Page[Shape]", page))


def screens_of(cache: Cache, sees: Callable[[Caller, Audience], bool]) -> Callable[..., Awaitable[Screens]]:
    """A dependency that gives each request its Screens; `sees` says whether a caller belongs to an audience."""

    async def provide(request: Request[Any, Any, Any]) -> Screens:
        caller = caller_of(request)
        scope = cast("Mapping[str, Any]", request.scope)
        return Screens(
            cache,
            lambda audience: sees(caller, audience),
            scope["headers"],
            secure=scope["scheme"] == "https",
            looked=scope.get(LOOKED),
        )

    return provide


class Frame:
    """Round the whole app: a write's answer carries a Fresh-After token, and no answer is kept or guessed at."""

    def __init__(self, app: Any, cache: Cache) -> None:
        self._app = app
        self.cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, _framed(send, list))
            return
        with self.cache.write(token_in(scope["headers"])) as written:

            def token() -> list[tuple[bytes, bytes]]:
                if (note := written.token) is None:
                    return []
                headers = token_headers(note, secure=scope["scheme"] == "https")
                return [(name.lower().encode(), value.encode()) for name, value in headers]

            await self._app(scope, receive, _framed(send, token))


def _framed(send: Send, more: Callable[[], list[tuple[bytes, bytes]]]) -> Send:
    async def framed(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            usual = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
            added = [header for header in usual if header[0] not in names]
            message["headers"] = [*message["headers"], *added, *more()]
        await send(message)

    return framed


class Gate:
    """Counts requests by a Limiter in Redis; while that is away, by this process alone."""

    def __init__(self, limiter: Limiter, cache: Cache) -> None:
        self.limiter = limiter
        self._store = cache.store
        self._loading: asyncio.Task[bool] | None = None

    async def admit(self, caller: Caller, scope: Scope) -> None:
        """Raises LimitExceeded."""
        if (subject := self.subject(caller)) is not None:
            await self.count(subject)

    def subject(self, caller: Caller) -> Subject | None:
        """None for a service, which has no limit."""
        return self.limiter.subject(caller.id, caller.role) if caller.kind == "user" else None

    async def count(self, subject: Subject) -> None:
        """Raises LimitExceeded."""
        try:
            reply: object = await self._store.ask(subject.key.encode(), subject.command)
        except REDIS_ERRORS as error:
            reply = error
        if wait := self.wait(subject, reply):
            raise refusal(subject, wait)

    def wait(self, subject: Subject, reply: object) -> int:
        """Microseconds to wait by the script's reply; by the own count where an error came instead."""
        if isinstance(reply, int):
            return reply
        if str(reply).startswith("NOSCRIPT") and (self._loading is None or self._loading.done()):
            self._loading = asyncio.create_task(self.load())
        return self.limiter.wait_here(subject)

    async def prepare(self) -> None:
        """Makes the script known before the first request, unless Redis is away for longer than a second."""
        for _ in range(50):
            if await self.load():
                return
            await asyncio.sleep(0.02)

    async def load(self) -> bool:
        """Makes the script known to Redis, for requests to come; says whether it is."""
        try:
            await self._store.everywhere(pack("SCRIPT", "LOAD", Limiter.script))
        except REDIS_ERRORS:
            return False
        return True


class FrontDoor:
    """What the layer of proven hits may know of callers: who was verified before and may still come, and how many."""

    def __init__(
        self,
        known: Callable[[bytes], Caller | None],
        still_valid: Callable[[Caller], bool],
        sees: Callable[[Caller, Audience], bool],
        gate: Gate,
    ) -> None:
        self._known = known
        self._still_valid = still_valid
        self._gate = gate
        self._sees = sees

    def identify(self, authorization: bytes) -> Caller | None:
        caller = self._known(authorization)
        return caller if caller is not None and self._still_valid(caller) else None

    def sees(self, caller: Caller, audience: Audience) -> bool:
        return self._sees(caller, audience)

    def command(self, caller: Caller) -> tuple[bytes, bytes] | None:
        subject = self._gate.subject(caller)
        return None if subject is None else (subject.key.encode(), subject.command)

    def refusal(self, caller: Caller, reply: object) -> App | None:
        if reply == 0 or (subject := self._gate.subject(caller)) is None:
            return None
        wait = self._gate.wait(subject, reply)
        return _problem(refusal(subject, wait)) if wait else None

    def mark(self, scope: MutableMapping[str, Any], caller: Caller) -> None:
        scope[CALLER] = caller
        scope[ADMITTED] = True


def _problem(error: DomainError) -> App:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await respond(error, send)

    return answer


def screen_options(route: HotRoute[Caller]) -> dict[str, object]:
    """A handler's `opt` that says which view it shows, and to whom."""
    return {_SCREEN: route}


def hot_routes(handlers: Iterable[object]) -> list[HotRoute[Caller]]:
    """Of the handlers that were made with `screen_options`."""
    options: list[Mapping[str, object]] = [getattr(handler, "opt", {}) for handler in handlers]
    return [route for each in options if isinstance(route := each.get(_SCREEN), HotRoute)]


class Callers:
    """Counts whom no token names: by account and by address. A proxy's word is believed if its address is trusted."""

    def __init__(self, gate: Gate, sign_in: Limiter, trusted_proxies: Collection[str]) -> None:
        self._gate = gate
        self._sign_in = sign_in
        self._trusted = frozenset(trusted_proxies)

    async def sign_in(self, account: str, request: Request[Any, Any, Any]) -> None:
        """Raises LimitExceeded."""
        digest = hashlib.sha256(account.strip().casefold().encode()).hexdigest()[:32]
        for subject in (f"account:{digest}", f"address:{self._address(request)}"):
            await self._gate.count(self._sign_in.subject(subject))

    async def anonymous(self, request: Request[Any, Any, Any]) -> None:
        """Raises LimitExceeded."""
        await self._gate.count(self._gate.limiter.subject(f"address:{self._address(request)}"))

    def _address(self, request: Request[Any, Any, Any]) -> str:
        peer = request.client.host if request.client else ""
        if peer not in self._trusted:
            return peer
        # The nearest address that is not one of ours: what stands before it, anybody can write.
        for hop in reversed(request.headers.get("x-forwarded-for", "").split(",")):
            if (address := hop.strip()) and address not in self._trusted:
                return address
        return peer


def items_in_order(
    service: str, many: Many[T], ids: Sequence[UUID | str | None], value: Callable[[T], V] | None = None
) -> list[Answered | None]:
    """A batch answer in the order of `ids`, for a view's batch form. None for an id that is None.

    `value` gives what the view shows of an item, and may raise NotFound.
    """
    return [None if each is None else _item(service, many, str(each), value) for each in ids]


async def each_of(
    service: str,
    ask: Callable[[Sequence[UUID]], Awaitable[Many[T]]],
    ids: Sequence[UUID | None],
    value: Callable[[T], V] | None = None,
) -> list[Answered | None]:
    """As `items_in_order`, for what others name: each id asked for once, and nobody asked where none names any."""
    wanted = list(dict.fromkeys(each for each in ids if each is not None))
    return items_in_order(service, await ask(wanted), ids, value) if wanted else [None] * len(ids)


def _item(service: str, many: Many[T], key: str, value: Callable[[T], V] | None) -> Answered:
    if (found := many.found.get(key)) is not None:
        try:
            shown: object = found.data if value is None else value(found.data)
        except NotFound:
            shown = None
        return Answered(shown, service, found.entities, found.seq)
    return Answered(None, service, many.absent.get(key, {}))


async def each_noted(service: str, asking: Awaitable[Many[T]], ids: Sequence[UUID | str]) -> list[T]:
    """Within a segment: the items of a batch that exist, in order; each one's versions count as shown."""
    batch = Replicas()
    outer = observer.set(batch)
    try:
        many = await asking
    finally:
        observer.reset(outer)
    # A replica names its number once, for all of the batch.
    of_all = batch.seq.get(service)
    items: list[T] = []
    for each in ids:
        if (found := many.found.get(str(each))) is not None:
            observed(service, found.entities, least(found.seq, of_all))
            items.append(found.data)
        else:
            observed(service, many.absent.get(str(each), {}), of_all)
    return items


async def one_noted(service: str, asking: Awaitable[Many[T]], key: UUID | str) -> T:
    """Within a segment: the one item that was asked for in a batch. Raises NotFound."""
    items = await each_noted(service, asking, [key])
    if not items:
        raise NotFound
    return items[0]

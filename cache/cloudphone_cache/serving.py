"""What a process that serves views stands on, between the HTTP kit and the cache: screens, writes, limits."""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.types import Message, Receive, Scope, Send

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Many, Page
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.app import caller_of
from cloudphone_shared.limits import Limiter, Subject, refusal

from .aggregation import Cache
from .composition import Replicas, observed, observer
from .freshness import token_headers, token_in
from .redis import REDIS_ERRORS, RedisRefused, pack
from .response import Served
from .store import RedisStore
from .view import Answered, Audience, Sees, View

T = TypeVar("T")
V = TypeVar("V")
Shape = TypeVar("Shape", bound=msgspec.Struct)


class Screens:
    """The cache as one request sees it: for its caller, and no older than its Fresh-After token says."""

    def __init__(self, cache: Cache, sees: Sees, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._cache = cache
        self._sees = sees
        self._fresh_after = token_in(headers)
        self._if_none_match = next(
            (value.decode("latin-1") for name, value in headers if name == b"if-none-match"), None
        )

    async def show(self, view: View[Any], **params: UUID | str) -> Served:
        """Raises what the view's primary service refused with; NotFound also for who may not see it."""
        return await self._cache.read(
            view, params, self._sees, fresh_after=self._fresh_after, if_none_match=self._if_none_match
        )

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
        return Screens(cache, lambda audience: sees(caller, audience), request.scope["headers"])

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

    async def admit(self, caller: Caller, scope: Scope) -> None:
        """Raises LimitExceeded."""
        if caller.kind == "user":
            await self.count(self.limiter.subject(caller.id, caller.role))

    async def count(self, subject: Subject) -> None:
        """Raises LimitExceeded."""
        if wait := await self._wait(subject):
            raise refusal(subject, wait)

    async def _wait(self, subject: Subject) -> int:
        assert isinstance(self._store, RedisStore)  # limits are shared through it
        try:
            return await self._store.redis.send(subject.key.encode(), subject.command)
        except RedisRefused as error:
            if str(error).startswith("NOSCRIPT"):
                await self.load()
        except REDIS_ERRORS:
            pass
        return self.limiter.wait_here(subject)

    async def load(self) -> None:
        """The script, for the next request; this one is counted here."""
        with contextlib.suppress(*REDIS_ERRORS):
            await self._store.everywhere(pack("SCRIPT", "LOAD", Limiter.script))


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
    """A batch answer in the order of `ids`, for a view's batch form. None for an id that is None."""
    return [None if each is None else _item(service, many, str(each), value) for each in ids]


def _item(service: str, many: Many[T], key: str, value: Callable[[T], V] | None) -> Answered:
    if (found := many.found.get(key)) is not None:
        shown: object = found.data if value is None else value(found.data)
        return Answered(shown, service, found.entities, found.seq)
    return Answered(None, service, many.absent.get(key, {}))


async def each_noted(service: str, asking: Awaitable[Many[T]], ids: Sequence[UUID | str]) -> list[T]:
    """Within a segment: the items of a batch that exist, in order; each one's versions count as shown."""
    outer = observer.set(Replicas())
    try:
        many = await asking
    finally:
        observer.reset(outer)
    items: list[T] = []
    for each in ids:
        if (found := many.found.get(str(each))) is not None:
            observed(service, found.entities, found.seq)
            items.append(found.data)
        else:
            observed(service, many.absent.get(str(each), {}), None)
    return items


async def one_noted(service: str, asking: Awaitable[Many[T]], key: UUID | str) -> T:
    """Within a segment: the one item that was asked for in a batch. Raises NotFound."""
    items = await each_noted(service, asking, [key])
    if not items:
        raise NotFound
    return items[0]

"""What the response says of itself: status, headers and the stored bytes, ready to be sent."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from .entry import Entry
from .view import View

Headers = list[tuple[bytes, bytes]]
Send = Callable[[Any], Awaitable[None]]

_COMPLETE: Headers = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"private, no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-view-complete", b"true"),
]
_INCOMPLETE: Headers = [*_COMPLETE[:-1], (b"x-view-complete", b"false")]


class Served:
    """An ASGI response. `status` is 200 or 304; `versions` what it shows, per service."""

    __slots__ = ("body", "entry", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes, entry: Entry) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.entry = entry

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})

    def adding(self, headers: Iterable[tuple[str, str]]) -> "Served":
        """The same answer with more headers. Those of an entry are shared by all who hit it."""
        more = [(name.lower().encode(), value.encode()) for name, value in headers]
        return Served(self.status, [*self.headers, *more], self.body, self.entry)

    @property
    def degraded(self) -> bool:
        return self.entry.degraded

    @property
    def versions(self) -> dict[str, dict[str, int]]:
        return {service: versions for service, (_, versions) in self.entry.deps.items()}

    def header(self, name: str) -> str | None:
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)


class Source(NamedTuple):
    """Where an answer came from, as Cache-Status (RFC 9211) says it."""

    header: tuple[bytes, bytes]

    @classmethod
    def of(cls, text: str) -> "Source":
        return cls((b"cache-status", b"cloudphone; " + text.encode()))


L1 = Source.of("hit; detail=l1")
L2 = Source.of("hit; detail=l2")
COMPOSED = Source.of("fwd=miss; stored")
REFRESHED = Source.of("fwd=stale; stored")
JOINED = Source.of("fwd=miss; collapsed")
NOT_STORED = Source.of("fwd=miss")
NOT_FRESH = Source.of("fwd=miss; detail=not-fresh")
DEGRADED = Source.of("fwd=stale; fwd-status=503; detail=degraded")
DEGRADED_HIT = Source.of("hit; detail=degraded")


@lru_cache(maxsize=64)
def because(source: Source, why: str) -> Source:
    """What was composed, with why it had to be; any other as it is."""
    if source not in (COMPOSED, REFRESHED, JOINED, NOT_STORED):
        return source
    return Source((source.header[0], b"%b; detail=%b" % (source.header[1], why.encode())))


class Ready:
    """What a hit is answered with for as long as the clock and the feed say the same: `until` in ms, `beats` the
    heartbeats heard by then. All who hit the entry meanwhile share it."""

    __slots__ = ("_beats", "_etag", "_served", "_unchanged", "_until")

    def __init__(self, served: Served, beats: int, until: int) -> None:
        self._served = served
        self._etag = served.entry.etag
        self._unchanged: Served | None = None
        self._beats = beats
        self._until = until

    def holds(self, now_ms: int, beats: int) -> bool:
        return beats == self._beats and now_ms < self._until

    def answer(self, if_none_match: str | None) -> Served:
        if if_none_match is None or not self._etag or not matches(if_none_match, self._etag):
            return self._served
        if self._unchanged is None:
            self._unchanged = _not_modified(self._served)
        return self._unchanged


def serve(
    view: View[Any], entry: Entry, source: Source, now_ms: int, as_of_ms: int | None, if_none_match: str | None = None
) -> Served:
    """`as_of_ms`: everything committed before then is in it; None when that cannot be said."""
    if entry.degraded and (source is L1 or source is L2):
        source = DEGRADED_HIT
    body = entry.body_at(view, now_ms)
    headers = _headers(view, entry, source, _age(entry, now_ms), as_of_ms, len(body))
    served = Served(200, headers, body, entry)
    if if_none_match is not None and entry.etag and matches(if_none_match, entry.etag):
        return _not_modified(served)
    return served


def ready(view: View[Any], entry: Entry, now_ms: int, as_of_ms: int, beats: int, until: int) -> Ready:
    """For hits on an entry in process, until its age in seconds changes, `until` at most."""
    changes = entry.read_at + (_age(entry, now_ms) + 1) * 1000
    return Ready(serve(view, entry, L1, now_ms, as_of_ms), beats, min(until, changes))


def _age(entry: Entry, now_ms: int) -> int:
    return max(0, now_ms - entry.read_at) // 1000


def _not_modified(served: Served) -> Served:
    headers = [header for header in served.headers if header[0] not in (b"content-type", b"content-length")]
    return Served(304, headers, b"", served.entry)


def _headers(view: View[Any], entry: Entry, source: Source, age: int, as_of_ms: int | None, length: int) -> Headers:
    headers = [
        *(_COMPLETE if entry.complete else _INCOMPLETE),
        (b"content-length", b"%d" % length),
        source.header,
        (b"age", b"%d" % age),
    ]
    if as_of_ms is not None:
        headers.append(_fresh_as_of(as_of_ms))
    if entry.etag:
        headers.append((b"etag", entry.etag))
    if view.bounds:
        headers.append(_bounded(view))
    return headers


def _bounded(view: View[Any]) -> tuple[bytes, bytes]:
    return b"x-view-bounded", ", ".join(f"{name}={life:g}" for name, life in view.bounds.items()).encode()


@lru_cache(maxsize=1024)
def _fresh_as_of(ms: int) -> tuple[bytes, bytes]:
    return b"x-fresh-as-of", spell_time(ms)


def spell_time(ms: int) -> bytes:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def matches(if_none_match: str, etag: bytes) -> bool:
    """Weak comparison (RFC 9110)."""
    wanted = etag.decode().removeprefix("W/")
    return any(tag.strip() == "*" or tag.strip().removeprefix("W/") == wanted for tag in if_none_match.split(","))

"""The stored form of a view: a header that says what it shows, and the body as it is sent.

Bytes: the kind (one letter), the header's length (4 bytes, big endian), the header (MessagePack), the JSON body.
The body's segments are named with their offsets, so one can be replaced and the others kept as they are.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from .view import NEVER, NOBODY, Audience, Segment, View, milliseconds

FULL, PARTIAL, NEGATIVE = b"F", b"P", b"N"
KINDS = {FULL: "full", PARTIAL: "partial", NEGATIVE: "negative"}
RETRY_MS = 2000
"""After so long a partial view's missing segments are asked for again."""

_ENTRY_BYTES, _SERVICE_BYTES, _ENTITY_BYTES = 2000, 100, 160
"""As tracemalloc counts them: an entry with its place and the headers of its last hit; what it shows."""

Deps = dict[str, tuple[int, dict[str, int]]]


class State(IntEnum):
    GOOD = 0
    KEPT = 1
    """Its service did not answer: the last good value, with its old versions."""
    MISSING = 2
    """Its service did not answer and there was no value to keep: null."""


class Part:
    """One segment as composed: its JSON, what it shows, when it was asked (`read_at`, ms), and until when it is true.

    A kept part's versions no longer count as shown. `unversioned` when it was asked and named no entity; `lagging` when
    it was read from a replica that had not followed as far as the feed had been heard.
    """

    __slots__ = ("_value", "decode", "deps", "lagging", "name", "raw", "read_at", "state", "until", "unversioned")

    def __init__(
        self,
        name: str,
        raw: bytes,
        read_at: int,
        deps: Deps,
        *,
        until: int = NEVER,
        state: State = State.GOOD,
        decode: Callable[[bytes], Any] = msgspec.json.decode,
        unversioned: bool = False,
        lagging: bool = False,
    ) -> None:
        self.name = name
        self.raw = raw
        self.read_at = read_at
        self.deps = deps
        self.until = until
        self.state = state
        self.decode = decode
        self.unversioned = unversioned
        self.lagging = lagging
        self._value: Any = _UNREAD

    @property
    def value(self) -> Any:
        if self._value is _UNREAD:
            self._value = None if self.state is State.MISSING else self.decode(self.raw)
        return self._value

    def as_(self, state: State) -> "Part":
        """The same value in another state; a missing one has none."""
        raw = b"null" if state is State.MISSING else self.raw
        deps: Deps = {} if state is State.MISSING else self.deps
        return Part(self.name, raw, self.read_at, deps, until=self.until, state=state, decode=self.decode)


_UNREAD = object()


class _Stored(msgspec.Struct, array_like=True):
    """One segment in the header: offsets into the body, and what `Part` holds."""

    name: str
    start: int
    end: int
    read_at: int
    deps: Deps
    until: int
    state: int


class _Head(msgspec.Struct, array_like=True):
    schema: int
    deps: Deps
    read_at: int
    until: int
    fresh_until: int
    hard_until: int
    cost_ms: int
    tenant: str | None
    owner: str | None
    etag: bytes
    complete: bool
    parts: msgspec.Raw


_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_parts = msgspec.msgpack.Decoder(list[_Stored]).decode
_encode = msgspec.msgpack.Encoder().encode


class Entry:
    """A view as cached. Times in ms since 1970.

    `deps` is what a proof needs: per service the lowest position and the lowest version of each entity, of good
    segments only. Before `until` it may be served (a segment's life, a partial's retry, the hard expiry); past
    `fresh_until` it is refreshed behind the answer; `cost_ms` is how long it took to compose.
    """

    __slots__ = (
        "_lines",
        "_stored",
        "audience",
        "body",
        "complete",
        "cost_ms",
        "deps",
        "etag",
        "fresh_until",
        "hard_until",
        "kind",
        "read_at",
        "ready",
        "schema",
        "tick",
        "until",
        "watched",
    )  # fmt: skip

    def __init__(self, kind: bytes, head: _Head, body: bytes) -> None:
        self.kind = kind
        self.schema = head.schema
        self.deps = head.deps
        self.read_at = head.read_at
        self.until = head.until
        self.fresh_until = head.fresh_until
        self.hard_until = head.hard_until
        self.cost_ms = head.cost_ms
        self.audience = (
            Audience(head.tenant, head.owner) if head.tenant is not None or head.owner is not None else NOBODY
        )
        self.etag = head.etag
        self.complete = head.complete
        self._stored = head.parts
        self.body = body
        self.tick = 0
        self.watched = False
        self.ready: Any = None
        self._lines: list[_Stored] | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about, with its place in the process's own layer and among what is watched."""
        shown = sum(_SERVICE_BYTES + _ENTITY_BYTES * len(versions) for _, versions in self.deps.values())
        return _ENTRY_BYTES + len(self.body) + len(self._stored) + shown

    @property
    def degraded(self) -> bool:
        return self.kind == PARTIAL

    def lines(self) -> list[_Stored]:
        if self._lines is None:
            self._lines = _decode_parts(self._stored)
        return self._lines

    def parts(self, view: View[Any]) -> dict[str, Part]:
        body = self.body
        segments = {segment.name: segment for segment in view.segments}
        return {
            line.name: Part(
                line.name, body[line.start : line.end], line.read_at, line.deps,
                until=line.until, state=State(line.state), decode=segments[line.name].decode,
            )
            for line in self.lines()
            if line.name in segments
        }  # fmt: skip

    def deps_of(self, names: Sequence[str]) -> Deps:
        return merged(line.deps for line in self.lines() if line.name in names)

    def audience_is_good(self, view: View[Any]) -> bool:
        """Whether who may see it was read with the rest, rather than kept."""
        return all(line.state == State.GOOD for line in self.lines() if line.name in view.audience_of)

    def stale_fields(self, view: View[Any], now_ms: int) -> list[dict[str, Any]]:
        """What the body of a degraded view says of itself."""
        aliases = {segment.name: segment.alias for segment in view.segments}
        fields: list[dict[str, Any]] = []
        for line in self.lines():
            if line.state != State.GOOD:
                field: dict[str, Any] = {"field": aliases[line.name], "reason": "unavailable"}
                if line.state == State.KEPT:
                    field["ageMs"] = max(0, now_ms - line.read_at)
                fields.append(field)
        return fields

    def body_at(self, view: View[Any], now_ms: int) -> bytes:
        """The body to send: of a degraded view with what is wrong with it."""
        if self.kind != PARTIAL:
            return self.body
        return self.body[:-1] + b',"degraded":' + msgspec.json.encode(self.stale_fields(view, now_ms)) + b"}"

    def dump(self) -> bytes:
        head = _encode(
            _Head(
                self.schema,
                self.deps,
                self.read_at,
                self.until,
                self.fresh_until,
                self.hard_until,
                self.cost_ms,
                self.audience.tenant,
                self.audience.owner,
                self.etag,
                self.complete,
                self._stored,
            )
        )
        return b"".join((self.kind, len(head).to_bytes(4, "big"), head, self.body))


def load(stored: bytes, schema: int) -> Entry | None:
    """None for an entry of another shape, and for bytes that are no entry."""
    end = 5 + int.from_bytes(stored[1:5], "big")
    try:
        head = _decode_head(memoryview(stored)[5:end])
    except msgspec.MsgspecError:
        return None
    return Entry(stored[:1], head, stored[end:]) if head.schema == schema else None


class Label(NamedTuple):
    """What the header of a stored entry says to who does not know its view. Times in ms since 1970."""

    kind: str
    deps: Deps
    read_at: int
    hard_until: int


def label_of(stored: bytes) -> Label | None:
    """From what is stored, at least its header; None if it is no entry."""
    kind = KINDS.get(stored[:1])
    if kind is None:
        return None
    try:
        head = _decode_head(memoryview(stored)[5 : 5 + int.from_bytes(stored[1:5], "big")])
    except msgspec.MsgspecError:
        return None
    return Label(kind, head.deps, head.read_at, head.hard_until)


def merged(several: Any) -> Deps:
    """Dependencies of all: per service the lowest position, per entity the lowest version."""
    found: Deps = {}
    for deps in several:
        for service, (position, versions) in deps.items():
            if service not in found:
                found[service] = (position, dict(versions))
                continue
            lowest, into = found[service]
            for entity, version in versions.items():
                into[entity] = min(version, into.get(entity, version))
            found[service] = (min(lowest, position), into)
    return found


def assemble(view: View[Any], parts: Mapping[str, Part], audience: Audience, now_ms: int, cost_ms: int) -> Entry:
    """The entry of a composed view. Soft expiry is jittered down by up to a tenth: entries expire apart."""
    pieces: list[bytes] = []
    lines: list[_Stored] = []
    at = 0
    for segment in view.segments:
        part = parts[segment.name]
        opening = (b"," if at else b"{") + segment.opening
        start = at + len(opening)
        at = start + len(part.raw)
        pieces += (opening, part.raw)
        lines.append(_Stored(part.name, start, at, part.read_at, part.deps, part.until, part.state))
    body = b"".join((*pieces, b"}"))
    whole = all(part.state is State.GOOD for part in parts.values())
    read_at = min(part.read_at for part in parts.values())
    hard = read_at + view.keep_ms
    until = min([hard, *(part.until for part in parts.values() if part.state is State.GOOD)])
    if view.bounded_to is not None:
        until = min(until, read_at + milliseconds(view.bounded_to))
    if not whole:
        until = min(until, now_ms + RETRY_MS)
    head = _Head(
        schema=view.schema,
        deps=merged(_counted(view, part) for part in parts.values()),
        read_at=read_at,
        until=until,
        fresh_until=read_at + round(view.fresh_ms * random.uniform(0.9, 1.0)),
        hard_until=hard,
        cost_ms=cost_ms,
        tenant=audience.tenant,
        owner=audience.owner,
        etag=_etag(view, parts) if whole else b"",
        complete=all(part.state is not State.MISSING for part in parts.values()),
        parts=msgspec.Raw(_encode(lines)),
    )
    return Entry(FULL if whole else PARTIAL, head, body)


def absence(view: View[Any], deps: Deps, read_at: int, cost_ms: int) -> Entry:
    """The negative entry: nothing is there, as of these versions."""
    head = _Head(
        view.schema, deps, read_at, read_at + view.keep_ms, read_at + view.fresh_ms, read_at + view.keep_ms, cost_ms,
        None, None, b"", True, msgspec.Raw(_encode([])),
    )  # fmt: skip
    return Entry(NEGATIVE, head, b"")


def _counted(view: View[Any], part: Part) -> Deps:
    return part.deps if part.state is State.GOOD else {}


def _etag(view: View[Any], parts: Mapping[str, Part]) -> bytes:
    # Weak: the same versions may be written in other bytes. Values without versions are told apart by their time.
    timed: list[Segment] = [s for s in view.segments if s.life is not None or s.until or view.bounded_to is not None]
    text = _encode(
        [
            view.schema,
            sorted((s, sorted(v.items())) for s, (_, v) in merged(p.deps for p in parts.values()).items()),
            [parts[segment.name].read_at for segment in timed],
        ]
    )
    return b'W/"' + hashlib.blake2b(text, digest_size=12).hexdigest().encode() + b'"'

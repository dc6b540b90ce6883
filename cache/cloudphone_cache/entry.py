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

_INCARNATION = 10**12
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

    `as_of` is when it was asked as the owners' clocks tell it, or a little earlier; `read_at` unless it is given.
    A kept part's versions no longer count as shown. `unversioned` when it was asked and named no entity; `lagging` when
    it was read from a replica that had not followed as far as the feed had been heard.
    """

    __slots__ = (
        "_value", "as_of", "decode", "deps", "lagging", "name", "raw", "read_at", "state", "until", "unversioned",
    )  # fmt: skip

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
        as_of: int | None = None,
    ) -> None:
        self.name = name
        self.raw = raw
        self.read_at = read_at
        self.as_of = read_at if as_of is None else as_of
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
        return Part(
            self.name, raw, self.read_at, deps, until=self.until, state=state, decode=self.decode, as_of=self.as_of
        )


_UNREAD = object()


_Shown = tuple[str, int, list[int], dict[str, int]]
"""Of one service: how far its position is ahead of the view's, which of the view's entities it shows by their place,
and those whose versions are not the view's."""


class _Stored(msgspec.Struct, array_like=True, gc=False):
    """One segment in the header, in the shape's order: its length in the body, when it was read (ms after the view),
    how long it is true (ms; -1 without end), and what it shows."""

    length: int
    read_after: int
    life: int
    state: int
    shows: list[_Shown]


class Line(NamedTuple):
    """One segment's place in the body, and what `Part` holds."""

    name: str
    start: int
    end: int
    read_at: int
    deps: Deps
    until: int
    state: int


class _Head(msgspec.Struct, array_like=True, gc=False):
    """What is stored of an entry beside its body; the three ends and `as_of` in ms after `read_at`."""

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
    as_of: int = 0


_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_parts = msgspec.msgpack.Decoder(list[_Stored]).decode
_encode = msgspec.msgpack.Encoder().encode


class Entry:
    """A view as cached. Times in ms since 1970.

    `deps` is what a proof needs: per service the lowest position and the lowest version of each entity, of good
    segments only. Before `until` it may be served (a segment's life, a partial's retry, the hard expiry); past
    `fresh_until` it is refreshed behind the answer; `cost_ms` is how long it took to compose. All of these are told by
    the clock of who composed it; `as_of` is `read_at` by the owners' clocks, or a little earlier.
    """

    __slots__ = (
        "_lines",
        "_stored",
        "as_of",
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
        self.as_of = head.read_at + head.as_of
        self.until = head.read_at + head.until
        self.fresh_until = head.read_at + head.fresh_until
        self.hard_until = head.read_at + head.hard_until
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
        self._lines: list[Line] | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about, with its place in the process's own layer and among what is watched."""
        shown = sum(_SERVICE_BYTES + _ENTITY_BYTES * len(versions) for _, versions in self.deps.values())
        return _ENTRY_BYTES + len(self.body) + len(self._stored) + shown

    @property
    def degraded(self) -> bool:
        return self.kind == PARTIAL

    def lines(self, view: View[Any]) -> list[Line]:
        if self._lines is None:
            self._lines = self._unfolded(view)
        return self._lines

    def _unfolded(self, view: View[Any]) -> list[Line]:
        lines: list[Line] = []
        at = 0
        for segment, part in zip(view.segments, _decode_parts(self._stored), strict=False):
            start = at + 1 + len(segment.opening)
            at = start + part.length
            read_at = self.read_at + part.read_after
            until = NEVER if part.life < 0 else read_at + part.life
            lines.append(Line(segment.name, start, at, read_at, _unfold(part.shows, self.deps), until, part.state))
        return lines

    def parts(self, view: View[Any]) -> dict[str, Part]:
        body = self.body
        decode = {segment.name: segment.decode for segment in view.segments}
        return {
            line.name: Part(
                line.name, body[line.start : line.end], line.read_at, line.deps,
                until=line.until, state=State(line.state), decode=decode[line.name], as_of=self.as_of,
            )
            for line in self.lines(view)
        }  # fmt: skip

    def deps_of(self, view: View[Any], names: Sequence[str]) -> Deps:
        return merged(line.deps for line in self.lines(view) if line.name in names)

    def audience_is_good(self, view: View[Any]) -> bool:
        """Whether who may see it was read with the rest, rather than kept."""
        return all(line.state == State.GOOD for line in self.lines(view) if line.name in view.audience_of)

    def stale_fields(self, view: View[Any], now_ms: int) -> list[dict[str, Any]]:
        """What the body of a degraded view says of itself."""
        aliases = {segment.name: segment.alias for segment in view.segments}
        fields: list[dict[str, Any]] = []
        for line in self.lines(view):
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
                _counted_short(self.deps),
                self.read_at,
                self.until - self.read_at,
                self.fresh_until - self.read_at,
                self.hard_until - self.read_at,
                self.cost_ms,
                self.audience.tenant,
                self.audience.owner,
                self.etag,
                self.complete,
                self._stored,
                self.as_of - self.read_at,
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
    if head.schema != schema:
        return None
    _count_whole(head.deps)
    return Entry(stored[:1], head, stored[end:])


def _counted_short(deps: Deps) -> Deps:
    """Versions as distances from the beginning of their position's incarnation: two bytes each rather than nine."""
    counted: Deps = {}
    for service, (position, versions) in deps.items():
        base = position - position % _INCARNATION
        counted[service] = (position, {entity: version - base for entity, version in versions.items()})
    return counted


def _count_whole(deps: Deps) -> None:
    """The opposite, in place: every hit of Redis pays for it."""
    for position, versions in deps.values():
        base = position - position % _INCARNATION
        for entity in versions:
            versions[entity] += base


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
        parts = _decode_parts(head.parts)
    except msgspec.MsgspecError:
        return None
    deps = head.deps
    _count_whole(deps)
    for part in parts:
        for service, _, _, own in part.shows:
            # What a kept segment shows counts for no proof, but it is shown.
            shown = deps.setdefault(service, (0, {}))[1]
            for entity, version in own.items():
                shown[entity] = min(version, shown.get(entity, version))
    return Label(kind, deps, head.read_at, head.read_at + head.hard_until)


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
    at = 0
    for segment in view.segments:
        part = parts[segment.name]
        opening = (b"," if at else b"{") + segment.opening
        at += len(opening) + len(part.raw)
        pieces += (opening, part.raw)
    body = b"".join((*pieces, b"}"))
    whole = all(part.state is State.GOOD for part in parts.values())
    read_at = min(part.read_at for part in parts.values())
    hard = read_at + view.keep_ms
    until = min([hard, *(part.until for part in parts.values() if part.state is State.GOOD)])
    if view.bounded_to is not None:
        until = min(until, read_at + milliseconds(view.bounded_to))
    if not whole:
        until = min(until, now_ms + RETRY_MS)
    deps = merged(_counted(view, part) for part in parts.values())
    lines = [_stored(parts[segment.name], deps, read_at) for segment in view.segments]
    head = _Head(
        schema=view.schema,
        deps=deps,
        read_at=read_at,
        until=until - read_at,
        fresh_until=round(view.fresh_ms * random.uniform(0.9, 1.0)),
        hard_until=hard - read_at,
        cost_ms=cost_ms,
        tenant=audience.tenant,
        owner=audience.owner,
        etag=_etag(view, parts) if whole else b"",
        complete=all(part.state is not State.MISSING for part in parts.values()),
        parts=msgspec.Raw(_encode(lines)),
        as_of=min(part.as_of for part in parts.values()) - read_at,
    )
    return Entry(FULL if whole else PARTIAL, head, body)


def _stored(part: Part, whole: Deps, read_at: int) -> _Stored:
    life = -1 if part.until >= NEVER else part.until - part.read_at
    return _Stored(len(part.raw), part.read_at - read_at, life, part.state, _fold(part.deps, whole))


def _fold(deps: Deps, whole: Deps) -> list[_Shown]:
    """What one segment shows, said by what the whole view shows."""
    folded: list[_Shown] = []
    for service, (position, versions) in deps.items():
        lowest, known = whole.get(service, _NOTHING)
        same = {entity for entity, version in versions.items() if known.get(entity) == version}
        places = [place for place, entity in enumerate(known) if entity in same]
        others = {entity: version for entity, version in versions.items() if entity not in same}
        folded.append((service, position - lowest, places, others))
    return folded


def _unfold(folded: list[_Shown], whole: Deps) -> Deps:
    deps: Deps = {}
    for service, ahead, places, others in folded:
        lowest, known = whole.get(service, _NOTHING)
        entities = list(known)
        deps[service] = (lowest + ahead, {entities[place]: known[entities[place]] for place in places} | others)
    return deps


_NOTHING: tuple[int, dict[str, int]] = (0, {})


def absence(view: View[Any], deps: Deps, read_at: int, cost_ms: int) -> Entry:
    """The negative entry: nothing is there, as of these versions."""
    head = _Head(
        view.schema, deps, read_at, view.keep_ms, view.fresh_ms, view.keep_ms, cost_ms,
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

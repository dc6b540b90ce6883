"""What a view is: a key, a shape whose fields are its segments, who may see it, and how long it may live."""

import hashlib
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from string import Formatter
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints, overload

import msgspec

Shape = TypeVar("Shape", bound=msgspec.Struct)
Function = TypeVar("Function", bound=Callable[..., Any])
Compose = Callable[..., Awaitable[Any]]


_FORM = 2
"""Of entries as they are stored: raised when that changes."""


class Audience(NamedTuple):
    """Whose a view is; None where it belongs to nobody in particular."""

    tenant: str | None = None
    owner: str | None = None


NOBODY = Audience()
"""An audience that only a caller who sees everything belongs to."""

Sees = Callable[[Audience], bool]


def everybody(audience: Audience) -> bool:
    """For views that anyone may see."""
    return True


class Answered(msgspec.Struct, frozen=True):
    """One item of a batch answer: its value, who answered, the versions it shows and, from a replica, its `seq`.

    As the first segment, a None value means that the view is absent.
    """

    value: Any
    service: str
    entities: Mapping[str, int]
    seq: int | None = None


class Segment:
    """One field of a view and the function that asks for it.

    `takes` are the function's parameters after `core`, `needs` those of them that are segments. `life` in seconds
    makes it soft: unversioned, true for that long. `until` gives the second (since 1970) at which the value ends.
    `given` says what of the first segment it needs it hangs on; that unchanged, it is not asked again.
    One that is not `kept` is never shown as it was last: without its service there is none.
    """

    def __init__(
        self,
        name: str,
        alias: str,
        kind: Any,
        compose: Compose,
        takes: tuple[str, ...],
        *,
        life: float | None,
        until: Callable[[Any], float | None] | None,
        given: Callable[[Any], Any] | None,
        kept: bool,
    ) -> None:
        self.name = name
        self.alias = alias
        self.compose = compose
        self.takes = takes
        self.needs: tuple[str, ...] = ()
        self.life = life
        self.until = until
        self.given = given
        self.kept = kept
        self.batch: Compose | None = None
        self.opening = b'"' + alias.encode() + b'":'
        self.decode = msgspec.json.Decoder(kind).decode


class View(Generic[Shape]):
    """`View("device:full:{device_id}", DeviceFull, fresh_for=300, serve_stale_for=3600)`, times in seconds.

    Every field of the shape needs a segment of its name; the first field's is the primary one, whose refusal is the
    view's. `bounded_to` seconds makes the view outside the freshness promise: it is only that old at most, and says so.
    """

    def __init__(
        self,
        key: str,
        shape: type[Shape],
        *,
        fresh_for: float = 300.0,
        serve_stale_for: float = 3600.0,
        bounded_to: float | None = None,
    ) -> None:
        self.template = key
        self.params = tuple(name for _, name, _, _ in Formatter().parse(key) if name)
        self.name = key.partition("{")[0].rstrip(":")
        self.shape = shape
        self.fresh_ms = round(fresh_for * 1000)
        self.keep_ms = round((fresh_for + serve_stale_for) * 1000)
        self.bounded_to = bounded_to
        self._kinds = get_type_hints(shape, include_extras=True)
        self._aliases = dict(zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True))
        self._declared: dict[str, Segment] = {}
        self._audience: Callable[..., Audience] = lambda: NOBODY
        self.audience_of: tuple[str, ...] = ()
        self._ready: tuple[Segment, ...] | None = None
        self._schema: int | None = None

    def __repr__(self) -> str:
        return f"View({self.template!r})"

    @overload
    def segment(self, function: Function, /) -> Function: ...
    @overload
    def segment(
        self,
        /,
        *,
        life: float | None = None,
        until: Callable[[Any], float | None] | None = None,
        given: Callable[[Any], Any] | None = None,
        kept: bool = True,
    ) -> Callable[[Function], Function]: ...
    def segment(
        self,
        function: Any = None,
        /,
        *,
        life: float | None = None,
        until: Callable[[Any], float | None] | None = None,
        given: Callable[[Any], Any] | None = None,
        kept: bool = True,
    ) -> Any:
        """Declares the function that asks for the field of its name.

        Its first parameter is what the cache was given as `core`; the others are key parameters or other segments.
        """

        def declare(compose: Function) -> Function:
            name = compose.__name__
            if name not in self._kinds:
                raise ValueError(f"{self!r}: {self.shape.__name__} has no field {name!r}")
            takes = _parameters(compose)[1:]
            self._declared[name] = Segment(
                name, self._aliases[name], self._kinds[name], compose, takes,
                life=life, until=until, given=given, kept=kept,
            )  # fmt: skip
            self._ready = None
            return compose

        return declare if function is None else declare(function)

    def many(self, name: str) -> Callable[[Function], Function]:
        """Declares the batch form of a segment: the same parameters in the same order, each a sequence.

        It returns one `Answered` per item, in order; None where there is nothing to show.
        """

        def declare(batch: Function) -> Function:
            if name not in self._declared:
                raise ValueError(f"{self!r}: the segment {name!r} must be declared before its batch form")
            self._declared[name].batch = batch
            return batch

        return declare

    def audience(self, function: Function) -> Function:
        """Declares who may see the view, from segments by name; without it, only who sees everything."""
        self._audience = function
        self.audience_of = _parameters(function)
        return function

    def audience_from(self, values: Sequence[Any]) -> Audience:
        """`values` of the segments that `audience_of` names, in that order."""
        found = self._audience(*values)
        return Audience(_text(found.tenant), _text(found.owner))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In the shape's order. Raises ValueError when a field has no segment or segments need each other in a ring."""
        if self._ready is None:
            self._ready = self._check()
        return self._ready

    @property
    def primary(self) -> Segment:
        return self.segments[0]

    @property
    def schema(self) -> int:
        """A number that changes with the shape, and with the stored form; entries of another one are not read."""
        if self._schema is None:
            text = msgspec.json.encode([_FORM, self.template, msgspec.json.schema(self.shape)], order="sorted")
            self._schema = int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big")
        return self._schema

    @cached_property
    def bounds(self) -> dict[str, float]:
        """Fields outside the freshness promise, with the seconds they may be old; `*` is the whole view."""
        if self.bounded_to is not None:
            return {"*": self.bounded_to}
        return {segment.alias: segment.life for segment in self.segments if segment.life is not None}

    def key_of(self, params: Mapping[str, object]) -> str:
        return self.template.format_map(params)

    def params_of(self, key: str) -> dict[str, str] | None:
        """The parameters of a key of this view, None for a key of another. Values hold no colon but the last one's."""
        rest = key.removeprefix(self.name + ":") if self.params else ""
        values = rest.split(":", len(self.params) - 1) if self.params else []
        if len(values) != len(self.params) or not all(values):
            return None
        params = dict(zip(self.params, values, strict=True))
        return params if self.key_of(params) == key else None

    def _check(self) -> tuple[Segment, ...]:
        names = self.shape.__struct_fields__
        if missing := [name for name in names if name not in self._declared]:
            raise ValueError(f"{self!r}: no segment for {', '.join(missing)}")
        segments = tuple(self._declared[name] for name in names)
        for segment in segments:
            segment.needs = tuple(name for name in segment.takes if name in self._declared)
            if unknown := [n for n in segment.takes if n not in self._declared and n not in self.params]:
                raise ValueError(f"{self!r}: the segment {segment.name} takes {unknown[0]!r}, which is nothing here")
        self.stages  # noqa: B018  # raises on a ring
        return segments

    @property
    def stages(self) -> list[list[Segment]]:
        """Segments in layers, each needing only earlier ones."""
        left = {name: self._declared[name] for name in self.shape.__struct_fields__}
        stages: list[list[Segment]] = []
        while left:
            stage = [s for s in left.values() if not any(name in left for name in s.needs)]
            if not stage:
                raise ValueError(f"{self!r}: the segments {', '.join(left)} need each other")
            stages.append(stage)
            for segment in stage:
                del left[segment.name]
        return stages


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


NEVER = 2**53
"""Milliseconds since 1970 that do not come."""


def milliseconds(seconds: float | None) -> int:
    return NEVER if seconds is None or math.isinf(seconds) else round(seconds * 1000)

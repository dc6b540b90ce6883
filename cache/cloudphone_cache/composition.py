"""Composing one view: its segments asked at once, each answer's versions noted with the segment that shows it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import msgspec

from .entry import Deps, Entry, Part, State, absence, assemble
from .knowledge import Knowledge, Stand
from .view import NEVER, Answered, Segment, View, milliseconds

NOWHERE = -1
"""The position in a feed that this process has not heard: nobody can prove an entry composed there."""


class Observer(Protocol):
    def observe(self, service: str, entities: Mapping[str, int], seq: int | None) -> None: ...


observer: ContextVar[Observer | None] = ContextVar("cloudphone_cache_observer", default=None)


def observed(service: str, entities: Mapping[str, int], seq: int | None = None) -> None:
    """Tells the segment or the write in progress what a service's answer shows. Service clients call it."""
    if (present := observer.get()) is not None:
        present.observe(service, entities, seq)


class Recorder:
    """What one segment's answers show. `stand` is where the feeds stood before anything was asked."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.deps: Deps = {}
        self.nameless = False
        """Whether an answer named no entity."""
        self.lagging = False
        """Whether an answer came from a replica that had not followed as far as the feed had been heard, or of which
        nobody knows how far it had."""
        self.reaches = NEVER
        """Up to which moment replicas had followed at least, in milliseconds; only the feed tells."""

    def observe(self, service: str, entities: Mapping[str, int], seq: int | None) -> None:
        position = self._stand.positions.get(service, NOWHERE)
        # A replica's answer holds what was committed up to its own snapshot, not up to ours.
        if seq is not None:
            reaches = self._stand.reaches.get(service, 0)
            self.lagging = self.lagging or seq < position or not reaches
            self.reaches = min(self.reaches, reaches)
            position = min(position, seq)
        before, versions = self.deps.get(service, (position, {}))
        for entity, version in entities.items():
            versions[entity] = min(version, versions.get(entity, version))
        self.deps[service] = (min(before, position), versions)
        if not entities:
            self.nameless = True


class Replicas:
    """For a batch: its items name their versions themselves; only a replica's `seq` of the answer is noted."""

    def __init__(self) -> None:
        self.seq: dict[str, int] = {}

    def observe(self, service: str, entities: Mapping[str, int], seq: int | None) -> None:
        if seq is not None:
            self.seq[service] = min(seq, self.seq.get(service, seq))


class Failures(NamedTuple):
    """Exception classes: the primary's absence and refusals pass through; `unavailable` may be met with what was."""

    absent: tuple[type[Exception], ...]
    refused: tuple[type[Exception], ...]
    unavailable: tuple[type[Exception], ...]


class Missing(LookupError):
    """What a segment raises for what is not there, unless the cache is told of other exceptions."""


class Absent(Exception):
    """The primary segment is not there; `deps` says as of which versions."""

    def __init__(self, deps: Deps, read_at: int, *, lagging: bool) -> None:
        super().__init__("absent")
        self.deps = deps
        self.lagging = lagging
        self.read_at = read_at


class Composed(NamedTuple):
    entry: Entry
    provable: bool
    """Whether every answer named what it shows, so that a reader can prove the entry."""
    lagging: bool = False
    """Whether something in it was read from a replica that lagged behind the feed."""


Keep = Callable[[Part], bool]


class Composer:
    """Composes views of one cache; `core` goes to the segments' functions as it is."""

    def __init__(self, core: Any, knowledge: Knowledge, failures: Failures) -> None:
        self.core = core
        self.knowledge = knowledge
        self.failures = failures

    async def compose(self, view: View[Any], params: Mapping[str, str], base: Entry | None) -> Composed:
        """A new entry; segments of `base` that still hold are taken over.

        If something newer was announced meanwhile, what shows it is asked once more. Raises what the primary segment
        raised, except for its absence; Unavailable only when there is nothing to keep.
        """
        started = time.monotonic()
        composed = await self._round(view, params, base, self.still_good(view, base), started)
        if not self.knowledge.outdated(composed.entry.deps):
            return composed
        again = await self._round(view, params, composed.entry, self._not_outdated, started, before=base)
        return again._replace(lagging=again.lagging or composed.lagging)

    def still_good(self, view: View[Any], base: Entry | None) -> Keep:
        """Which parts of an entry need no asking: proven, within their life, and not due for the soft refresh."""
        now = self.knowledge.now_ms()
        if view.bounded_to is not None or base is None:
            return lambda part: False
        return lambda part: (
            part.state is State.GOOD
            and now < part.until
            and now < part.read_at + view.fresh_ms * 0.9
            and self.knowledge.holds(part.deps, now)
        )

    def _not_outdated(self, part: Part) -> bool:
        return part.state is not State.GOOD or not self.knowledge.outdated(part.deps)

    async def _round(
        self,
        view: View[Any],
        params: Mapping[str, str],
        base: Entry | None,
        keep: Keep,
        started: float,
        before: Entry | None = None,
    ) -> Composed:
        filling = _Filling(self, view, params, base.parts(view) if base else {}, keep)
        try:
            parts = await filling.run()
        except Absent as gone:
            cost = round((time.monotonic() - started) * 1000)
            return Composed(absence(view, gone.deps, gone.read_at, cost), bool(gone.deps), gone.lagging)
        return self.finish(view, parts, (base, before), started)

    def finish(
        self, view: View[Any], parts: dict[str, Part], bases: tuple[Entry | None, ...], started: float
    ) -> Composed:
        audience = view.audience_from([parts[name].value for name in view.audience_of])
        if any(base is not None and base.audience != audience for base in bases):
            # What was kept was read for somebody else.
            for name, part in parts.items():
                if part.state is State.KEPT:
                    parts[name] = part.as_(State.MISSING)
        cost = round((time.monotonic() - started) * 1000)
        entry = assemble(view, parts, audience, self.knowledge.now_ms(), cost)
        named = not any(part.unversioned for part in parts.values()) and bool(parts[view.primary.name].deps)
        return Composed(entry, named or view.bounded_to is not None, any(part.lagging for part in parts.values()))

    async def ask(self, segment: Segment, inputs: Mapping[str, Part], params: Mapping[str, str]) -> Any:
        """The segment's value in its single form. Raises what its service said."""
        try:
            return await segment.compose(self.core, **arguments(segment, inputs, params))
        except ExceptionGroup as group:
            # A segment may use a TaskGroup; what its service said is still what its service said.
            known = [kind for kinds in self.failures for kind in kinds]
            if (found := first_of(group, tuple(known))) is not None:
                raise found from group
            raise

    def part(self, segment: Segment, value: Any, recorder: Recorder, read_at: int) -> Part:
        soft = segment.life is not None
        if not soft:
            read_at = min(read_at, recorder.reaches)
        until = NEVER if segment.life is None else read_at + milliseconds(segment.life)
        if segment.until is not None and value is not None:
            until = min(until, milliseconds(segment.until(value)))
        return Part(
            segment.name,
            msgspec.json.encode(value),
            read_at,
            {} if soft else recorder.deps,
            until=until,
            decode=segment.decode,
            unversioned=recorder.nameless and not soft,
            lagging=recorder.lagging and not soft,
            as_of=self.knowledge.read_as_of(read_at, recorder.deps or self.knowledge.services),
        )

    def fallback(self, view: View[Any], segment: Segment, old: Part | None, same: bool) -> Part:
        """What stands in for a segment whose service does not answer: what was, if it was asked about the same."""
        now = self.knowledge.now_ms()
        if (
            old is not None
            and segment.kept
            and same
            and old.state is not State.MISSING
            and now < old.read_at + view.keep_ms
        ):
            return old.as_(State.KEPT)
        return Part(segment.name, b"null", now, {}, state=State.MISSING, decode=segment.decode)

    def answered(self, item: Answered | None, stand: Stand, batch: Replicas) -> Recorder:
        recorder = Recorder(stand)
        if item is not None:
            recorder.observe(item.service, item.entities, least(item.seq, batch.seq.get(item.service)))
        return recorder


class _Filling:
    """One round over one view's segments."""

    def __init__(
        self, composer: Composer, view: View[Any], params: Mapping[str, str], old: Mapping[str, Part], keep: Keep
    ) -> None:
        self._composer = composer
        self._view = view
        self._params = params
        self._old = old
        self._keep = keep
        self._tasks: dict[str, asyncio.Task[Part]] = {}

    async def run(self) -> dict[str, Part]:
        view = self._view
        for segment in view.segments:
            self._tasks[segment.name] = asyncio.create_task(self._part(segment))
        try:
            # In order, the primary first: its refusal is the view's, whatever else failed.
            parts = {name: await task for name, task in self._tasks.items()}
        except BaseException:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            raise
        if parts[view.primary.name].state is State.MISSING:
            raise RuntimeError(f"{view!r}: the primary segment needs one that is not there")
        return parts

    async def _part(self, segment: Segment) -> Part:
        composer = self._composer
        inputs = {name: await self._tasks[name] for name in segment.needs}
        old = self._old.get(segment.name)
        same = old is not None and same_inputs(segment, inputs, self._old)
        if old is not None and same and self._keep(old):
            return old
        if any(part.state is State.MISSING for part in inputs.values()):
            return composer.fallback(self._view, segment, old, same)
        read_at = composer.knowledge.now_ms()
        recorder = Recorder(composer.knowledge.stand())
        observer.set(recorder)
        primary = segment is self._view.primary
        try:
            value = await composer.ask(segment, inputs, self._params)
        except composer.failures.unavailable:
            instead = composer.fallback(self._view, segment, old, same)
            if primary and instead.state is State.MISSING:
                raise
            return instead
        except composer.failures.absent:
            if primary:
                raise Absent(recorder.deps, read_at, lagging=recorder.lagging) from None
            value = None
        return composer.part(segment, value, recorder, read_at)


def first_of(group: BaseException, kinds: tuple[type[Exception], ...]) -> Exception | None:
    """The first of these kinds among what a group holds, at any depth."""
    if isinstance(group, kinds):
        return group
    inner: tuple[BaseException, ...] = getattr(group, "exceptions", ())
    for error in inner:
        if (found := first_of(error, kinds)) is not None:
            return found
    return None


def arguments(segment: Segment, inputs: Mapping[str, Part], params: Mapping[str, str]) -> dict[str, Any]:
    return {name: inputs[name].value if name in inputs else params[name] for name in segment.takes}


def same_inputs(segment: Segment, inputs: Mapping[str, Part], old: Mapping[str, Part]) -> bool:
    """Whether a segment would be asked about the same thing as it was for the earlier entry."""
    if any(name not in old or old[name].state is State.MISSING for name in inputs):
        return False
    given = segment.given
    for name, part in inputs.items():
        if part.raw == old[name].raw:
            continue
        if given is None or name != segment.needs[0] or part.state is State.MISSING:
            return False
        if given(part.value) != given(old[name].value):
            return False
    return True


def least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)

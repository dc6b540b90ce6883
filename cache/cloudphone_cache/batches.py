"""Lists: what is missing is composed stage by stage, each segment asked once for all where it has a batch form."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .composition import Composed, Composer, Recorder, Replicas, arguments, observer, same_inputs
from .entry import Entry, Part, State, absence
from .filling import Filler, Flight
from .view import Answered, Segment, View

_SINGLES_AT_ONCE = 16


class _Card:
    """One view of the list in the making; `gone` once its primary segment is absent."""

    __slots__ = ("base", "gone", "key", "old", "params", "parts")

    def __init__(self, view: View[Any], key: str, params: dict[str, str], base: Entry | None) -> None:
        self.key = key
        self.params = params
        self.base = base
        self.old: Mapping[str, Part] = base.parts(view) if base is not None else {}
        self.parts: dict[str, Part] = {}
        self.gone: Entry | None = None

    def inputs(self, segment: Segment) -> dict[str, Part]:
        return {name: self.parts[name] for name in segment.needs}


async def compose_many(
    composer: Composer, filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]],
    bases: Mapping[str, Entry | None],
) -> dict[str, Entry]:  # fmt: skip
    """The missing views by key, absent ones as negative entries. One whose fill is under way waits for that."""
    under_way = {key: filler.flights[key] for key in missing if key in filler.flights}
    mine = {key: params for key, params in missing.items() if key not in under_way}
    flights = {key: Flight(behind=False) for key in mine}
    filler.flights.update(flights)
    try:
        found = await _compose(composer, filler, view, mine, bases) if mine else {}
        for key, flight in flights.items():
            filler.land(flight, key, found[key])
    except Exception as error:
        for key, flight in flights.items():
            filler.land(flight, key, error)
        raise
    finally:
        for key, flight in flights.items():
            filler.land(flight, key, None)
    entries = {key: filled.entry for key, filled in found.items()}
    joined = await asyncio.gather(*(filler.fill(view, missing[key], key, bases.get(key)) for key in under_way))
    return entries | {key: filled.entry for key, filled in zip(under_way, joined, strict=True)}


async def _compose(
    composer: Composer, filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]],
    bases: Mapping[str, Entry | None],
) -> dict[str, Any]:  # fmt: skip
    started = time.monotonic()
    cards = [_Card(view, key, params, bases.get(key)) for key, params in missing.items()]
    for stage in view.stages:
        await _all(*(_fill(composer, view, segment, [c for c in cards if c.gone is None]) for segment in stage))
    filled: dict[str, Any] = {}
    for card in cards:
        composed = _finish(composer, view, card, started)
        if composer.knowledge.outdated(composed.entry.deps):
            composed = await composer.compose(view, card.params, composed.entry)
        filled[card.key] = filler.keep(view, card.key, composed, card.base)
    return filled


def _finish(composer: Composer, view: View[Any], card: _Card, started: float) -> Composed:
    if card.gone is not None:
        return Composed(card.gone, bool(card.gone.deps))
    return composer.finish(view, card.parts, (card.base,), started)


async def _fill(composer: Composer, view: View[Any], segment: Segment, cards: list[_Card]) -> None:
    """Gives every card its part of one segment."""
    asked: list[_Card] = []
    for card in cards:
        inputs = card.inputs(segment)
        old = card.old.get(segment.name)
        same = old is not None and same_inputs(segment, inputs, card.old)
        if old is not None and same and composer.still_good(view, card.base)(old):
            card.parts[segment.name] = old
        elif any(part.state is State.MISSING for part in inputs.values()):
            card.parts[segment.name] = composer.fallback(view, segment, old, same)
        else:
            asked.append(card)
    if not asked:
        return
    if segment.batch is not None:
        await _ask_batch(composer, view, segment, asked)
    else:
        slots = asyncio.Semaphore(_SINGLES_AT_ONCE)
        await _all(*(_ask_single(composer, view, segment, card, slots) for card in asked))


async def _ask_batch(composer: Composer, view: View[Any], segment: Segment, cards: list[_Card]) -> None:
    assert segment.batch is not None
    read_at = composer.knowledge.now_ms()
    positions = composer.knowledge.positions()
    replicas = Replicas()
    columns = _columns(segment, cards)
    try:
        items = await _observed(replicas, segment.batch, composer.core, columns)
    except composer.failures.unavailable as error:
        for card in cards:
            _fall_back(composer, view, segment, card, error)
        return
    for card, item in zip(cards, items, strict=True):
        recorder = composer.answered(item, positions, replicas)
        value = None if item is None else item.value
        if value is None and segment is view.primary:
            card.gone = absence(view, recorder.deps, read_at, 0)
        else:
            card.parts[segment.name] = composer.part(segment, value, recorder, read_at)


async def _observed(
    replicas: Replicas,
    batch: Callable[..., Awaitable[Sequence[Answered | None]]],
    core: Any,
    columns: list[list[Any]],
) -> Sequence[Answered | None]:
    token = observer.set(replicas)
    try:
        return await batch(core, *columns)
    finally:
        observer.reset(token)


async def _ask_single(
    composer: Composer, view: View[Any], segment: Segment, card: _Card, slots: asyncio.Semaphore
) -> None:
    inputs = card.inputs(segment)
    async with slots:
        read_at = composer.knowledge.now_ms()
        recorder = Recorder(composer.knowledge.positions())
        token = observer.set(recorder)
        try:
            value = await segment.compose(composer.core, **arguments(segment, inputs, card.params))
        except composer.failures.unavailable as error:
            _fall_back(composer, view, segment, card, error)
            return
        except composer.failures.absent:
            if segment is view.primary:
                card.gone = absence(view, recorder.deps, read_at, 0)
                return
            value = None
        finally:
            observer.reset(token)
    card.parts[segment.name] = composer.part(segment, value, recorder, read_at)


def _fall_back(composer: Composer, view: View[Any], segment: Segment, card: _Card, error: Exception) -> None:
    old = card.old.get(segment.name)
    same = old is not None and same_inputs(segment, card.inputs(segment), card.old)
    part = composer.fallback(view, segment, old, same)
    if segment is view.primary and part.state is State.MISSING:
        raise error
    card.parts[segment.name] = part


def _columns(segment: Segment, cards: list[_Card]) -> list[list[Any]]:
    rows = [arguments(segment, card.inputs(segment), card.params) for card in cards]
    return [[row[name] for row in rows] for name in segment.takes]


async def _all(*work: Awaitable[None]) -> None:
    """Everything, each in a context of its own; the first failure is raised once all have ended, not in a group."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

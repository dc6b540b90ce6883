"""Lists: what is missing is composed stage by stage, each segment asked once for all where it has a batch form."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeGuard

from .composition import Composed, Composer, Recorder, Replicas, arguments, observer, same_inputs
from .entry import Entry, Part, State, absence
from .filling import Filled, Filler, Flight
from .view import Answered, Segment, View

_SINGLES_AT_ONCE = 16
_IN_ONE_GO = 8
"""So many views are put together before others have their turn of the loop."""


Settled = Filled | Exception
"""A view's entry, or why there is none."""


class _Card:
    """One view of the list in the making; `gone` once its primary segment is absent, `error` once it has failed."""

    __slots__ = ("base", "error", "gone", "key", "old", "params", "parts")

    def __init__(self, view: View[Any], key: str, params: dict[str, str], base: Entry | None) -> None:
        self.key = key
        self.params = params
        self.base = base
        self.old: Mapping[str, Part] = base.parts(view) if base is not None else {}
        self.parts: dict[str, Part] = {}
        self.gone: Entry | None = None
        self.error: Exception | None = None

    def inputs(self, segment: Segment) -> dict[str, Part]:
        return {name: self.parts[name] for name in segment.needs}


async def compose_many(
    composer: Composer, filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]],
    bases: Mapping[str, Entry | None],
) -> dict[str, Settled]:  # fmt: skip
    """The missing views by key, absent ones as negative entries. One whose fill is under way waits for that."""
    under_way = [key for key in missing if key in filler.flights]
    mine = {key: params for key, params in missing.items() if key not in filler.flights}
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
    filler.save_later([(key, filled.entry) for key, filled in found.items() if _to_save(filled)])
    return found | await _joined(filler, view, missing, bases, under_way)


async def compose_ahead(
    composer: Composer, filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]],
    bases: Mapping[str, Entry | None],
) -> dict[str, Settled]:  # fmt: skip
    """As `compose_many`, for nobody who waits: stored before it returns, and no reader is made to wait for it."""
    under_way = [key for key in missing if key in filler.flights]
    mine = {key: params for key, params in missing.items() if key not in filler.flights}
    found = await _compose(composer, filler, view, mine, bases) if mine else {}
    await filler.save_many([(key, filled.entry) for key, filled in found.items() if _to_save(filled)])
    return found | await _joined(filler, view, missing, bases, under_way)


async def _joined(
    filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]], bases: Mapping[str, Entry | None],
    keys: Sequence[str],
) -> dict[str, Settled]:  # fmt: skip
    asked = (filler.fill(view, missing[key], key, bases.get(key)) for key in keys)
    found: dict[str, Settled] = {}
    for key, result in zip(keys, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if not isinstance(result, Filled | Exception):
            raise result
        found[key] = result
    return found


def _to_save(filled: Settled) -> TypeGuard[Filled]:
    return isinstance(filled, Filled) and filled.kept


async def _compose(
    composer: Composer, filler: Filler, view: View[Any], missing: Mapping[str, dict[str, str]],
    bases: Mapping[str, Entry | None],
) -> dict[str, Settled]:  # fmt: skip
    started = time.monotonic()
    cards = [_Card(view, key, params, bases.get(key)) for key, params in missing.items()]
    for stage in view.stages:
        present = [card for card in cards if card.gone is None and card.error is None]
        await _all(*(_fill(composer, view, segment, present) for segment in stage))
    found: dict[str, Settled] = {}
    for number, card in enumerate(cards, 1):
        found[card.key] = await _settled(composer, filler, view, card, started)
        if number % _IN_ONE_GO == 0:
            await asyncio.sleep(0)
    return found


async def _settled(composer: Composer, filler: Filler, view: View[Any], card: _Card, started: float) -> Settled:
    if card.error is not None:
        return card.error
    try:
        composed = _finish(composer, view, card, started)
        if composer.knowledge.outdated(composed.entry.deps):
            composed = await composer.compose(view, card.params, composed.entry)
    except Exception as error:
        return error
    return filler.keep(view, card.key, composed, card.base)


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
        await _ask_singly(composer, view, segment, asked)


async def _ask_batch(composer: Composer, view: View[Any], segment: Segment, cards: list[_Card]) -> None:
    assert segment.batch is not None
    read_at = composer.knowledge.now_ms()
    stand = composer.knowledge.stand()
    replicas = Replicas()
    columns = _columns(segment, cards)
    try:
        items = await _observed(replicas, segment.batch, composer.core, columns)
    except composer.failures.unavailable as error:
        for card in cards:
            _fall_back(composer, view, segment, card, error)
        return
    except Exception:
        # One of them is refused, or is what nobody thought of; the others are not to suffer for it.
        await _ask_singly(composer, view, segment, cards)
        return
    for card, item in zip(cards, items, strict=True):
        recorder = composer.answered(item, stand, replicas)
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


async def _ask_singly(composer: Composer, view: View[Any], segment: Segment, cards: list[_Card]) -> None:
    slots = asyncio.Semaphore(_SINGLES_AT_ONCE)
    await _all(*(_ask_single(composer, view, segment, card, slots) for card in cards))


async def _ask_single(
    composer: Composer, view: View[Any], segment: Segment, card: _Card, slots: asyncio.Semaphore
) -> None:
    inputs = card.inputs(segment)
    async with slots:
        read_at = composer.knowledge.now_ms()
        recorder = Recorder(composer.knowledge.stand())
        token = observer.set(recorder)
        try:
            value = await composer.ask(segment, inputs, card.params)
        except composer.failures.unavailable as error:
            _fall_back(composer, view, segment, card, error)
            return
        except composer.failures.absent:
            if segment is view.primary:
                card.gone = absence(view, recorder.deps, read_at, 0)
                return
            value = None
        except Exception as error:
            card.error = error
            return
        finally:
            observer.reset(token)
    card.parts[segment.name] = composer.part(segment, value, recorder, read_at)


def _fall_back(composer: Composer, view: View[Any], segment: Segment, card: _Card, error: Exception) -> None:
    old = card.old.get(segment.name)
    same = old is not None and same_inputs(segment, card.inputs(segment), card.old)
    part = composer.fallback(view, segment, old, same)
    if segment is view.primary and part.state is State.MISSING:
        card.error = error
    card.parts[segment.name] = part


def _columns(segment: Segment, cards: list[_Card]) -> list[list[Any]]:
    rows = [arguments(segment, card.inputs(segment), card.params) for card in cards]
    return [[row[name] for row in rows] for name in segment.takes]


async def _all(*work: Awaitable[None]) -> None:
    """Everything, each in a context of its own; the first failure is raised once all have ended, not in a group."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

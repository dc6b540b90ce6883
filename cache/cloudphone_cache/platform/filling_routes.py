"""What a BFF offers the warm-up: its plan, and filling views through its own fill path, behind its live traffic."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import structlog
from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.warmup import WarmupFill, WarmupKey, WarmupPlan, WarmupResult
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.context import deadline

from ..aggregation import Cache
from ..view import View

log = structlog.get_logger()

Candidates = Callable[[int], Awaitable[list[WarmupKey]]]
"""For so many most recently active users: what to have ready, the most important first."""

_TOGETHER = 50
"""So many views of a kind are composed with one question to each service."""
_AT_ONCE = 2
_BUSY = 8
"""So many live compositions in flight are enough to make the warm-up wait, half a second at most per batch."""
_PAUSE = 0.01
_LONGEST_WAIT = 0.5
_BATCH_SECONDS = 4.0

_Planned = tuple[int, WarmupKey]
"""A key, and its place in what was asked for."""


class Warming:
    """Views composed ahead, those of a kind together, a few batches at a time."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def fill(self, keys: Sequence[WarmupKey]) -> list[WarmupResult]:
        """What became of each, in order."""
        results: dict[int, WarmupResult] = {}
        kinds: dict[str, list[_Planned]] = {}
        for place, key in enumerate(keys):
            view = self._cache.views.get(key.view)
            if view is None or set(key.params) != set(view.params):
                results[place] = WarmupResult(key=key.view, outcome="failed", reason="there is no such view")
            else:
                kinds.setdefault(key.view, []).append((place, key))
        batches = [(name, some) for name, planned in kinds.items() for some in _batched(planned)]
        for filled in await asyncio.gather(*(self._fill(self._cache.views[name], some) for name, some in batches)):
            results |= filled
        return [results[place] for place in range(len(keys))]

    async def _fill(self, view: View[Any], planned: Sequence[_Planned]) -> dict[int, WarmupResult]:
        async with self._slots:
            await self._yield_to_live()
            started = time.monotonic()
            # Each batch has its own time, however many wait their turn in this call.
            deadline.set(started + _BATCH_SECONDS)
            outcomes = await self._cache.warm(view, [key.params for _, key in planned])
            each_ms = round((time.monotonic() - started) * 1000 / len(planned), 3)
        return {
            place: _result(view.key_of(key.params), outcome, each_ms)
            for (place, key), outcome in zip(planned, outcomes, strict=True)
        }

    async def _yield_to_live(self) -> None:
        ends = time.monotonic() + _LONGEST_WAIT
        while len(self._cache.filler.flights) >= _BUSY and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)


def _batched(planned: Sequence[_Planned]) -> list[Sequence[_Planned]]:
    return [planned[start : start + _TOGETHER] for start in range(0, len(planned), _TOGETHER)]


def _result(key: str, outcome: str | Exception, ms: float) -> WarmupResult:
    if not isinstance(outcome, Exception):
        return WarmupResult(key=key, outcome="skipped" if outcome == "skipped" else "filled", ms=ms)
    if not isinstance(outcome, Unavailable | DomainError):
        log.error("view_not_warmed", key=key, exc_info=outcome)
    return WarmupResult(key=key, outcome="failed", reason=str(outcome) or type(outcome).__name__, ms=ms)


@get("/internal/warmup/plan", include_in_schema=False, guards=[requires("warmups:run")])
async def plan_warmup(
    candidates: NamedDependency[Candidates], users: Annotated[int, QueryParameter(ge=1, le=1000)] = 100
) -> Answer[WarmupPlan]:
    return Answer(data=WarmupPlan(keys=await candidates(users)), entities={})


@post("/internal/warmup/fill", status_code=200, include_in_schema=False, guards=[requires("warmups:run")])
async def fill_views(data: JSONBody[WarmupFill], warming: NamedDependency[Warming]) -> Answer[list[WarmupResult]]:
    return Answer(data=await warming.fill(data.keys), entities={})


FILLING: list[HTTPRouteHandler] = [plan_warmup, fill_views]

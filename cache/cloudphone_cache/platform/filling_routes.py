"""What a BFF offers the warm-up: its plan, and filling views through its own fill path, behind its live traffic."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

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

Candidates = Callable[[int], Awaitable[list[WarmupKey]]]
"""For so many most recently active users: what to have ready, the most important first."""

_AT_ONCE = 4
_BUSY = 8
"""So many live compositions in flight are enough to make the warm-up wait, a quarter of a second at most per view."""
_PAUSE = 0.01
_LONGEST_WAIT = 0.25
_VIEW_SECONDS = 5.0


class Warming:
    """Views composed ahead, a few at a time."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._own = 0

    async def fill(self, keys: Sequence[WarmupKey]) -> list[WarmupResult]:
        return list(await asyncio.gather(*(self._one(key) for key in keys)))

    async def _one(self, key: WarmupKey) -> WarmupResult:
        view = self._cache.views.get(key.view)
        if view is None or set(key.params) != set(view.params):
            return WarmupResult(key=key.view, outcome="failed", reason="there is no such view")
        name = view.key_of(key.params)
        async with self._slots:
            await self._yield_to_live()
            started = time.monotonic()
            # Each view has the time a reader's would have, however many wait their turn in this call.
            deadline.set(started + _VIEW_SECONDS)
            self._own += 1
            try:
                outcome = await self._cache.warm(view, key.params)
            except (Unavailable, DomainError) as error:
                return WarmupResult(key=name, outcome="failed", reason=str(error), ms=_since(started))
            finally:
                self._own -= 1
            return WarmupResult(key=name, outcome="skipped" if outcome == "skipped" else "filled", ms=_since(started))

    async def _yield_to_live(self) -> None:
        ends = time.monotonic() + _LONGEST_WAIT
        while len(self._cache.filler.flights) - self._own >= _BUSY and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


@get("/internal/warmup/plan", include_in_schema=False, guards=[requires("warmups:run")])
async def plan_warmup(
    candidates: NamedDependency[Candidates], users: Annotated[int, QueryParameter(ge=1, le=1000)] = 100
) -> Answer[WarmupPlan]:
    return Answer(data=WarmupPlan(keys=await candidates(users)), entities={})


@post("/internal/warmup/fill", status_code=200, include_in_schema=False, guards=[requires("warmups:run")])
async def fill_views(data: JSONBody[WarmupFill], warming: NamedDependency[Warming]) -> Answer[list[WarmupResult]]:
    return Answer(data=await warming.fill(data.keys), entities={})


FILLING: list[HTTPRouteHandler] = [plan_warmup, fill_views]

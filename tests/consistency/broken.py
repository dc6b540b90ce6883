"""The laboratory's program with a part of the cache's protocol left out: the command line `without PART serve NAME…`.

What is left out is replaced in the fork alone, so that whole and broken processes stand side by side.
"""

import asyncio
import time
from collections.abc import Callable

from cloudphone_cache.aggregation import Cache
from cloudphone_cache.composition import Composed, Composer
from cloudphone_cache.filling import Filled, Filler
from cloudphone_cache.knowledge import INCARNATION, Heard, Knowledge
from cloudphone_cache.local import Local
from cloudphone_deploy import nursery_process

SLOWLY_SECONDS = 0.4
"""Between composing and storing, for what has to happen in that moment."""


def positions() -> None:
    """Entries do not say when they were composed."""

    def holds(self: Knowledge, deps, now_ms: float) -> bool:
        return now_ms < self.good_until and not self.outdated(deps)

    Knowledge.holds = holds


def windows() -> None:
    """What was heard counts as heard without a hole."""

    def begin(self: Heard, since: int, *, anew: bool) -> None:
        self.since = min(self.since, INCARNATION)

    Heard.begin = begin


def first_heartbeat() -> None:
    """A window that begins with a heartbeat begins one number too early."""
    begin, hear_beat = Heard.begin, Knowledge.hear_beat

    def one_before(self: Knowledge, service: str, seq: int, t_ms: int) -> None:
        Heard.begin = lambda heard, since, *, anew: begin(heard, since - 1, anew=anew)
        try:
            hear_beat(self, service, seq, t_ms)
        finally:
            Heard.begin = begin

    Knowledge.hear_beat = one_before


def places_of_heartbeats() -> None:
    """A heartbeat takes the place of the change that it names."""
    hear_beat = Knowledge.hear_beat

    def as_a_change(self: Knowledge, service: str, seq: int, t_ms: int) -> None:
        if seq == self.services[service].position + 1:
            self.services[service].position = seq
        hear_beat(self, service, seq, t_ms)

    Knowledge.hear_beat = as_a_change


def times_of_heartbeats() -> None:
    """The feed is as young as the last arrival."""
    hear_beat = Knowledge.hear_beat
    Knowledge.hear_beat = lambda self, service, seq, t_ms: hear_beat(self, service, seq, self.now_ms())


def age() -> None:
    """A feed that has fallen silent proves as much as before."""
    holds = Knowledge.holds
    Knowledge.holds = lambda self, deps, now_ms: holds(self, deps, 0)


def slowly() -> None:
    """Nothing is left out; a fill takes its time between composing and storing."""
    compose = Composer.compose

    async def slow(self: Composer, view, params, base) -> Composed:
        composed = await compose(self, view, params, base)
        await asyncio.sleep(SLOWLY_SECONDS)
        return composed

    Composer.compose = slow


def second_looks() -> None:
    """A fill is not checked once it has ended, neither by itself nor by who joined it."""

    async def one_round(self: Composer, view, params, base) -> Composed:
        return await self._round(view, params, base, self.still_good(view, base), time.monotonic())

    async def blind_fill(self: Filler, view, params, key, base) -> Filled:
        flight = self.flights.get(key) or self.begin(view, params, key, base)
        return await asyncio.shield(flight.answer)

    Composer.compose = one_round
    Filler.fill = blind_fill
    slowly()


def proofs() -> None:
    """The usual design: a change deletes what shows it, and whatever is there is served."""
    put, hear_change = Local.put, Knowledge.hear_change
    caches: list[Cache] = []
    shown: dict[str, set[str]] = {}
    enter = Cache.__aenter__

    async def entered(self: Cache) -> Cache:
        caches.append(self)
        return await enter(self)

    def indexed(self: Local, key: str, entry) -> None:
        for _, versions in entry.deps.values():
            for entity in versions:
                shown.setdefault(entity, set()).add(key)
        put(self, key, entry)

    def deleting(self: Knowledge, service: str, seq: int, entities) -> None:
        hear_change(self, service, seq, entities)
        for cache in caches:
            for key in {key for entity in entities for key in shown.get(entity, ())}:
                cache.local.drop(key)
                cache.store.drop(key)

    Cache.__aenter__ = entered
    Local.put = indexed
    Knowledge.hear_change = deleting
    Knowledge.proven = lambda self, entry: True
    Knowledge.outdated = lambda self, deps: False
    slowly()


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part
    for part in (
        positions,
        windows,
        first_heartbeat,
        places_of_heartbeats,
        times_of_heartbeats,
        age,
        second_looks,
        proofs,
        slowly,
    )
}


def run(words: list[str]) -> int:
    if words[0] == "without":
        PARTS[words[1]]()
        words = words[2:]
    return whole(words)


whole = nursery_process._run
nursery_process._run = run

if __name__ == "__main__":
    nursery_process.main()

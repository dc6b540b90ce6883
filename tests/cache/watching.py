"""What the callers of some caches see while something fails: every answer held against what was committed, and when."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from cloudphone_cache import Cache
from tests.cache.library import Library, body, everybody
from tests.conditions import eventually

HERE = {"number": 1}
ALLOWED_AGE_SECONDS = 2.001
"""Nothing is answered from the cache that was proven a moment longer ago; times are told in milliseconds."""


class Watch:
    """Book 1 gets a new number for its title again and again, and is read through every cache all the while."""

    def __init__(self, library: Library, view: Any, caches: tuple[Cache, ...]) -> None:
        self.library, self.view, self.caches = library, view, caches
        self.appender: Any = None
        self.between_two_times = False
        """The owners' clock has just been moved: labels may still speak the time before."""
        self._numbers = itertools.count(1)
        self.committed: list[tuple[int, float]] = []
        """Number, and a moment no earlier than its commit: seconds since 1970 on the owners' clock."""
        self.seen: Counter[str] = Counter()
        self.stale: list[str] = []
        self.raised: list[BaseException] = []

    @property
    def not_stored(self) -> int:
        """Answers that were composed and could not be stored."""
        return sum(n for source, n in self.seen.items() if source.startswith("fwd=miss") and "stored" not in source)

    def change(self) -> int:
        number = next(self._numbers)
        self.library.books.commit("book:1", {"title": str(number), "holder": "ana"})
        self.committed.append((number, self.library.clock()))
        return number

    def least(self, as_of: float) -> int:
        """What an answer that is proven fresh as of then shows, or something later."""
        return next((number for number, at in reversed(self.committed) if at < as_of), 0)

    @property
    def composed(self) -> int:
        """How many answers were."""
        return sum(times for source, times in self.seen.items() if source.startswith("fwd"))

    async def set_owners_clock(self, clock: Callable[[], float]) -> None:
        """Returns when every cache has heard of it."""
        self.between_two_times = True
        self.library.clock = clock
        self.committed.clear()
        # A heartbeat from the past is none, unless a change came in between.
        self.library.people.commit("person:ana", {"name": "Ana"})
        feeds = [feed for cache in self.caches for feed in cache.knowledge.services.values()]
        await eventually(lambda: all(abs(feed.as_of / 1000 - clock()) < 60 for feed in feeds))
        self.between_two_times = False

    async def look(self, cache: Cache) -> tuple[int, str]:
        """The number shown, and where the answer came from."""
        asked = self.library.clock()
        try:
            served = await cache.read(self.view, HERE, everybody)
        except Exception as error:
            self.raised.append(error)
            return 0, "raised"
        shown, source = int(body(served)["book"]["title"]), (served.header("cache-status") or "").partition("; ")[2]
        self.seen[source] += 1
        if self.between_two_times:
            return shown, source
        claimed = served.header("x-fresh-as-of")
        as_of = datetime.fromisoformat(claimed).timestamp() if claimed else 0.0
        if claimed and shown < (least := self.least(as_of)):
            self.stale.append(f"{shown} as fresh as of {as_of:.3f}, when {least} had been committed ({source})")
        if as_of > self.library.clock():
            self.stale.append(f"{shown} as fresh as of {as_of:.3f}, which is to come ({source})")
        if source.startswith("hit") and as_of < asked - ALLOWED_AGE_SECONDS:
            self.stale.append(f"{shown}, proven {asked - as_of:.1f} s before it was asked for ({source})")
        return shown, source

    async def go_on(self, cache: Cache) -> None:
        while True:
            await self.look(cache)
            await asyncio.sleep(0.01)

    async def change_on(self) -> None:
        while True:
            self.change()
            await asyncio.sleep(0.1)

    async def noticed(self, within: float = 60.0) -> None:
        """Until no cache takes its feed for young: from then on all compose."""
        await eventually(
            lambda: all(each.knowledge.now_ms() >= each.knowledge.good_until for each in self.caches), within
        )

    async def answered_from_the_cache_again(self, within: float = 90.0) -> None:
        """Until every cache answers from the cache, with something committed after this was called."""
        last = self.change()
        for cache in self.caches:
            await eventually(lambda cache=cache: self.answers_from_the_cache(cache, last), within=within, every=0.02)

    async def answers_from_the_cache(self, cache: Cache, least: int) -> bool:
        shown, source = await self.look(cache)
        return source.startswith("hit; detail=l") and shown >= least


@asynccontextmanager
async def watched(library: Library, view: Any, *caches: Cache) -> AsyncIterator[Watch]:
    """Changes and reads for as long as the block lasts. At its end no answer was stale, and none was missing."""
    watch = Watch(library, view, caches)
    watch.change()
    tasks = [asyncio.create_task(watch.go_on(cache)) for cache in caches]
    tasks.append(asyncio.create_task(watch.change_on()))
    try:
        await watch.answered_from_the_cache_again()
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    assert not watch.raised, watch.raised[:3]
    assert not watch.stale, watch.stale[:5]

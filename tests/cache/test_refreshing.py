"""Views that are read often are composed again before their next reader comes, once, and never in his way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cloudphone_cache import Cache
from cloudphone_cache.testing import Clock, MemoryStore
from tests.cache.library import Library, body, book_full, everybody, listening, new_cache
from tests.cache.test_degraded import ears
from tests.cache.test_reading import heard, settled, status
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


class Processes:
    """Some processes on one Redis, and views that they read."""

    def __init__(self, library: Library, *caches: Cache) -> None:
        self.library, self.caches = library, caches

    async def read(self, *numbers: int, times: int = 1) -> None:
        for cache in self.caches:
            await heard(cache, self.library)
            for number in numbers:
                for _ in range(times):
                    await cache.read(cache.views["book:full"], {"number": number}, everybody)
            await settled(cache)

    def rename(self, name: str) -> None:
        self.library.people.commit("person:ana", {"name": name})

    def total(self, name: str) -> int:
        return sum(cache.counts[name] for cache in self.caches)

    async def quiet(self) -> None:
        for cache in self.caches:
            await heard(cache, self.library)
            await eventually(lambda cache=cache: not len(cache.refresher) and not cache.refresher.running)


async def opened(stack: AsyncExitStack, library: Library, url: str, count: int) -> Processes:
    caches = [await stack.enter_async_context(new_cache(library, url, book_full())) for _ in range(count)]
    for cache in caches:
        await listening(cache)
        await eventually(lambda cache=cache: cache.store.available)
    return Processes(library, *caches)


@pytest.fixture
async def two(worked: str, library: Library) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield await opened(stack, library, worked, 2)


@pytest.fixture
async def one(worked: str, library: Library) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield await opened(stack, library, worked, 1)


async def test_a_change_to_a_hot_view_makes_one_composition_over_all_processes(
    two: Processes, library: Library
) -> None:
    library.shelve(1)
    await two.read(1, times=10)
    before = two.total("composed"), library.people.asked
    two.rename("Anna")
    await eventually(lambda: two.total("refreshed_ahead") == 2)
    await two.quiet()
    assert (two.total("composed"), library.people.asked) == (before[0] + 1, before[1] + 1)
    for cache in two.caches:
        served = await cache.read(cache.views["book:full"], {"number": 1}, everybody)
        assert status(served).startswith("hit")
        assert body(served)["heldBy"]["name"] == "Anna"
    assert two.total("composed") == before[0] + 1


async def test_a_cold_view_is_left_to_its_next_reader(one: Processes, library: Library) -> None:
    library.shelve(1)
    library.shelve(2)
    await one.read(1, times=10)
    await one.read(2)
    before = one.total("composed")
    one.rename("Anna")
    await eventually(lambda: one.total("composed") == before + 1)
    await one.quiet()
    assert (one.total("composed"), one.total("refreshed_ahead")) == (before + 1, 1)


async def test_without_a_read_in_between_it_is_not_composed_twice(one: Processes, library: Library) -> None:
    library.shelve(1)
    await one.read(1, times=10)
    for name in ("Anna", "Anne", "Annette"):
        one.rename(name)
        await one.quiet()
    await eventually(lambda: one.total("refreshed_ahead") == 1)
    await one.quiet()
    assert one.total("refreshed_ahead") == 1
    await one.read(1)
    one.rename("Ann")
    await eventually(lambda: one.total("refreshed_ahead") == 2)


async def test_of_very_many_the_hottest_come_first_few_at_a_time_and_readers_do_not_wait(
    one: Processes, library: Library
) -> None:
    books, hottest = range(400), [7, 77, 177, 377]
    for number in (*books, 1000):
        library.shelve(number, holder="ana" if number < 1000 else "bob")
    await one.read(*books, times=6)
    await one.read(*hottest, 1000, times=20)
    [cache] = one.caches
    library.people.gate.clear()
    one.rename("Anna")
    await eventually(lambda: len(cache.filler.flights) == cache.refresher.at_once)
    assert set(cache.filler.flights) == {f"book:full:{number}" for number in hottest}
    await heard(cache, library)
    # Nobody waits for them: hits go on, and a miss is composed though all of them hang.
    for _ in range(100):
        served = await cache.read(cache.views["book:full"], {"number": 1000}, everybody)
        assert status(served) == "hit; detail=l1"
    library.shelve(2000, holder=None)
    await cache.read(cache.views["book:full"], {"number": 2000}, everybody)
    assert cache.refresher.running == cache.refresher.at_once
    most = 0
    library.people.gate.set()
    while len(cache.refresher):
        most = max(most, cache.refresher.running)
        await asyncio.sleep(0)
    await one.quiet()
    assert most <= cache.refresher.at_once
    assert one.total("refreshed_ahead") == len(books)
    assert library.people.asked <= 2 * len(books) + 4


async def test_it_gives_way_to_fills_that_somebody_waits_for(one: Processes, library: Library) -> None:
    [cache] = one.caches
    for number in range(20):
        library.shelve(number, holder="ana" if number < 10 else None)
    await one.read(*range(10), times=10)
    library.books.gate.clear()
    waiting = [asyncio.create_task(one.read(number)) for number in range(10, 10 + cache.refresher.live)]
    await eventually(lambda: len(cache.filler.flights) == cache.refresher.live)
    one.rename("Anna")
    await eventually(lambda: len(cache.refresher) == 10)
    await heard(cache, library)
    assert cache.refresher.running == 0
    library.books.gate.set()
    await asyncio.gather(*waiting)
    await eventually(lambda: one.total("refreshed_ahead") == 10)


async def test_what_waits_is_bounded_and_the_hottest_stay(library: Library) -> None:
    async with new_cache(library, MemoryStore(), book_full(), clock=Clock()) as cache:
        for number in range(40):
            library.shelve(number, holder=None)
        ears(cache, library)
        cache.refresher.waiting, cache.refresher.at_once = 10, 0
        for number in range(40):
            for _ in range(5 + number):
                await cache.read(cache.views["book:full"], {"number": number}, everybody)
        for number in range(40):
            library.shelve(number, "Persuasion", holder=None)
        ears(cache, library)
        assert 10 <= len(cache.refresher) < 20
        assert {f"book:full:{number}" for number in range(30, 40)} <= cache.refresher._queued


async def test_a_window_later_old_hits_no_longer_count(library: Library) -> None:
    async with new_cache(library, MemoryStore(), book_full(), clock=Clock()) as cache:
        library.shelve(1)
        ears(cache, library)
        for _ in range(10):
            await cache.read(cache.views["book:full"], {"number": 1}, everybody)
        assert cache.hottest(1)[0].hits == 9
        cache.local.turn_window(cache.local.places())
        assert cache.hottest(1)[0].hits == 9
        cache.local.turn_window(cache.local.places())
        assert cache.hottest(1)[0].hits == 0

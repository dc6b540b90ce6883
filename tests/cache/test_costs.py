"""What each path asks of Redis and of the services, by Redis' own count."""

import asyncio
from collections import Counter

import pytest

from cloudphone_cache import Cache
from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Library, book_full, everybody, listening, new_cache, working
from tests.cache.test_reading import heard, settled

pytestmark = pytest.mark.anyio
HERE = {"number": 1}


class Counted:
    """Commands that Redis has carried out since the last look, the feed's and our own apart."""

    def __init__(self, url: str) -> None:
        self._client = patient_client(parse(url), read_timeout=60.0)
        self._before: Counter[str] = Counter()

    async def since(self) -> dict[str, int]:
        stats = await self._client.info("commandstats")
        calls = Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})
        new = calls - self._before
        self._before = calls
        feeds = ("xread", "xadd", "xinfo", "evalsha", "eval", "exists", "pexpire", "info", "client", "xtrim", "hello")
        feeds += ("ping", "role", "script")  # a connection opened anew
        return {name: count for name, count in new.items() if name.partition("|")[0] not in feeds}


async def still(library: Library, cache: Cache) -> None:
    await heard(cache, library)
    await settled(cache)


async def test_a_hit_costs_nothing_or_one_get(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache, new_cache(library, worked, view, l1_bytes=0) as far:
        await listening(cache)
        await listening(far)
        await cache.read(view, HERE, everybody)
        await still(library, cache)
        counted = Counted(worked)
        await counted.since()
        for _ in range(10):
            await cache.read(view, HERE, everybody)
        assert await counted.since() == {}
        for _ in range(10):
            await far.read(view, HERE, everybody)
        assert await counted.since() == {"get": 10}


async def test_a_miss_costs_two_gets_a_lease_and_a_store(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        counted = Counted(worked)
        await counted.since()
        await cache.read(view, HERE, everybody)
        await settled(cache)
        # The second GET travels with the lease; the release is a script's GET and DEL.
        assert await counted.since() == {"get": 3, "set": 2, "del": 1}


async def test_a_change_costs_the_same_however_many_views_show_it(worked: str, library: Library) -> None:
    view = book_full()
    for number in range(50):
        library.shelve(number)
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await asyncio.gather(*(cache.read(view, {"number": n}, everybody) for n in range(50)))
        await still(library, cache)
        counted = Counted(worked)
        await counted.since()
        library.people.commit("person:ana", {"name": "Anna"})
        await still(library, cache)
        assert await counted.since() == {}


async def test_a_thousand_cold_readers_of_four_processes_make_one_composition(any_redis: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with working(library, any_redis):
        caches = [new_cache(library, any_redis, view) for _ in range(4)]
        for cache in caches:
            await cache.__aenter__()
        try:
            for cache in caches:
                await listening(cache)
                await heard(cache, library)
            answers = await asyncio.gather(*(caches[n % 4].read(view, HERE, everybody) for n in range(1000)))
            assert {answer.status for answer in answers} == {200}
            assert sum(cache.counts["composed"] for cache in caches) == 1
            assert library.people.asked == 1
        finally:
            for cache in caches:
                await cache.__aexit__(None, None, None)


async def test_a_dead_holders_lease_keeps_nobody_longer_than_it_lasts(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view, lease_ms=200) as cache:
        await listening(cache)
        await cache.store.take("book:full:1", "somebody who died", 60_000)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await cache.read(view, HERE, everybody)
        assert 0.2 <= loop.time() - started < 50
        assert cache.counts["composed"] == 1


async def test_every_key_has_an_end(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await cache.read(view, HERE, everybody)
        await settled(cache)
        client = patient_client(parse(worked), read_timeout=60.0)
        keys = await client.keys("*")
        assert len(keys) >= 3
        assert all([await client.pttl(key) > 0 for key in keys])
        await client.aclose()

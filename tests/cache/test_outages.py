"""Redis away, slow, emptied, or back with old data: views are composed meanwhile, and nothing stale appears."""

import asyncio

import pytest

from cloudphone_cache import RedisAway
from cloudphone_cache.pipelined import Pipelined
from cloudphone_cache.redis import pack, parse
from tests.cache.library import Library, body, book_full, everybody, listening, new_cache, working
from tests.cache.test_reading import heard, settled, status
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
HERE = {"number": 1}


async def test_with_redis_away_from_the_start_views_are_composed(library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, "redis://127.0.0.1:1/0", view) as cache:
        for _ in range(3):
            assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "Emma"
        assert library.people.asked == 3
        assert not await cache.listening(within=0.05)


async def test_redis_killed_and_back_empty_is_cached_in_again(own_valkey, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with working(library, own_valkey.url), new_cache(library, own_valkey.url, view, allowed_age=2.0) as cache:
        await listening(cache)
        await cache.read(view, HERE, everybody)
        own_valkey.kill()
        await eventually(lambda: not cache.store.available)
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        # What the process has is not proven for longer than two seconds; from then on it composes.
        await eventually(lambda: cache.knowledge.now_ms() > cache.knowledge.good_until)
        assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "Persuasion"
        own_valkey.start()

        async def hit() -> bool:
            served = await cache.read(view, HERE, everybody)
            assert body(served)["book"]["title"] == "Persuasion"
            return status(served) == "hit; detail=l1"

        await eventually(hit)


async def test_redis_back_with_old_data_serves_none_of_it(own_valkey, library: Library) -> None:
    own_valkey.persistent = True
    own_valkey.stop()
    own_valkey.start()
    library.shelve(1)
    view = book_full()
    async with working(library, own_valkey.url) as appender, new_cache(library, own_valkey.url, view) as cache:
        await listening(cache)
        await cache.read(view, HERE, everybody)
        await settled(cache)
        old = {"view": await cache.store.get("book:full:1")}
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        await heard(cache, library)
        own_valkey.kill()
        own_valkey.start()
        await eventually(lambda: cache.store.redis.reconnects and cache.store.available)
        async with new_cache(library, own_valkey.url, view) as fresh:
            await listening(fresh)
            for reader in (cache, fresh):
                await eventually(lambda reader=reader: reader.knowledge.now_ms() < reader.knowledge.good_until)
                await heard(reader, library)
                await cache.store.put("book:full:1", old["view"], 60_000)
                reader.local.clear()
                assert body(await reader.read(view, HERE, everybody))["book"]["title"] == "Persuasion"
        assert appender.appended


async def test_a_stopped_redis_costs_one_budget_and_then_nothing(own_valkey, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with (
        working(library, own_valkey.url),
        new_cache(library, own_valkey.url, view, l1_bytes=0, budget_ms=50.0) as cache,
    ):
        await listening(cache)
        await cache.read(view, HERE, everybody)
        await settled(cache)
        await eventually(lambda: cache.store.available)
        redis = cache.store.redis
        overdue = redis.overdue
        own_valkey.pause()
        try:
            assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "Emma"
            asked, cost = redis.commands, redis.overdue - overdue
            for _ in range(4):
                assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "Emma"
            # One command was waited for, as long as the budget lasts; from then on none is sent.
            assert (cost, redis.overdue - overdue, redis.commands) == (1, 1, asked)
        finally:
            own_valkey.resume()
        await eventually(lambda: cache.store.available)


async def test_a_connection_without_answers_is_given_up_and_opened_again(own_valkey) -> None:
    redis = Pipelined(parse(own_valkey.url), budget_ms=20)
    await redis.start()
    await eventually(lambda: redis.available)
    own_valkey.pause()
    try:
        with pytest.raises(RedisAway):
            await redis("GET", "a")
        with pytest.raises(RedisAway):
            redis("GET", "a")
        await eventually(lambda: redis.reconnects == 1)
    finally:
        own_valkey.resume()
    await eventually(lambda: redis.available)
    assert await redis("PING") == b"PONG"
    await redis.close()


async def test_replies_stay_in_step_through_large_values_and_many_commands(any_redis: str) -> None:
    from cloudphone_cache.cluster import connect

    redis = connect(parse(any_redis), budget_ms=60_000)
    await redis.start()
    await eventually(lambda: redis.available and redis.connected.is_set())
    values = {
        f"k{number}".encode(): bytes([65 + number % 26]) * (300_000 if number % 50 == 0 else 20)
        for number in range(300)
    }
    await asyncio.gather(*(redis.send(key, pack("SET", key, value)) for key, value in values.items()))
    found = await asyncio.gather(*(redis.send(key, pack("GET", key)) for key in values))
    assert found == list(values.values())
    assert await redis.get_many(list(values)) == list(values.values())
    await redis.close()


async def test_a_full_redis_that_refuses_writes_still_serves(own_valkey, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with working(library, own_valkey.url), new_cache(library, own_valkey.url, view) as cache:
        await listening(cache)
        await cache.store.redis("CONFIG", "SET", "maxmemory", "1")
        assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "Emma"
        await settled(cache)
        assert status(await cache.read(view, HERE, everybody)) == "hit; detail=l1"

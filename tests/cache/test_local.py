"""The process's own layer: what it holds, and what it says of it."""

import tracemalloc

import pytest

from cloudphone_cache.entry import load
from cloudphone_cache.knowledge import Knowledge
from cloudphone_cache.local import Local
from cloudphone_cache.testing import Clock, MemoryStore
from tests.cache.library import Library, book_full, everybody, new_cache
from tests.cache.test_degraded import ears

pytestmark = pytest.mark.anyio


async def test_it_says_what_it_holds_and_what_is_asked_for_most(library: Library) -> None:
    view, clock = book_full(), Clock()
    for number in range(3):
        library.shelve(number)
    async with new_cache(library, MemoryStore(), view, clock=clock) as cache:
        ears(cache, library)
        for number, times in ((0, 2), (1, 5), (2, 3)):
            for _ in range(times):
                await cache.read(view, {"number": number}, everybody)
        hottest = cache.hottest(2)
        assert [held.key for held in hottest] == ["book:full:1", "book:full:2"]
        assert hottest[0].hits > hottest[1].hits > 0
        assert sum(held.bytes for held in cache.local.held()) == cache.local.bytes > 0
        assert {held.since_ms for held in hottest} == {round(clock() * 1000)}


async def test_hits_share_one_answer_until_the_clock_or_the_feed_says_more(library: Library) -> None:
    view, clock, here = book_full(), Clock(), {"number": 1}
    library.shelve(1)
    async with new_cache(library, MemoryStore(), view, clock=clock) as cache:
        ears(cache, library)
        await cache.read(view, here, everybody)
        first = await cache.read(view, here, everybody)
        assert await cache.read(view, here, everybody) is first
        assert first.body is cache.local.peek("book:full:1").body
        unchanged = await cache.read(view, here, everybody, if_none_match=first.header("etag"))
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert await cache.read(view, here, everybody) is first
        clock.move(0.3)
        ears(cache, library)
        later = await cache.read(view, here, everybody)
        assert later.header("x-fresh-as-of") > first.header("x-fresh-as-of")
        clock.move(0.8)
        assert (await cache.read(view, here, everybody)).header("age") == "1"
        library.shelve(1, "Persuasion")
        ears(cache, library)
        assert b"Persuasion" in (await cache.read(view, here, everybody)).body


async def test_being_looked_at_or_warmed_is_no_read(library: Library) -> None:
    view, here = book_full(), {"number": 1}
    library.shelve(1)
    async with new_cache(library, MemoryStore(), view, clock=Clock()) as cache:
        ears(cache, library)
        for _ in range(5):
            await cache.warm(view, [here])
            await cache.explain(view, here)
        assert [held.hits for held in cache.hottest(1)] == [0]


@pytest.mark.parametrize("loans", [0, 400])
async def test_its_bytes_are_those_that_it_takes(library: Library, loans: int) -> None:
    view = book_full()
    library.shelve(1)
    cache = new_cache(library, MemoryStore(), view, clock=Clock())
    ears(cache, library)
    await cache.read(view, {"number": 1}, everybody)
    entry = cache.local.peek("book:full:1")
    assert entry is not None
    entry.deps["books"][1].update({f"loan:{number:036}": number + 10**12 for number in range(loans)})
    stored, known = entry.dump(), Knowledge(["books", "people"])
    local = Local(10**9, known)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(200):
        copy = load(stored, view.schema)
        assert copy is not None
        local.put(f"book:full:{number:036}", copy)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.75 < local.bytes / taken < 1.6

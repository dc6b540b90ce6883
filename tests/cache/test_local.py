"""The process's own layer: what it holds, and what it says of it."""

import pytest

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

"""Views composed ahead, many at once: nothing twice, nothing at the expense of who waits, and each failure alone."""

import asyncio

import msgspec
import pytest

from cloudphone_cache.testing import BrokenStore, MemoryStore
from tests.cache.library import Down, Library, Refused, body, book_full, everybody, new_cache
from tests.cache.test_degraded import ears
from tests.cache.test_lists import numbers
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


def shelved(library: Library, count: int) -> list[dict[str, int]]:
    for number in range(count):
        library.shelve(number)
    return numbers(*range(count))


async def test_what_was_filled_ahead_is_stored_before_it_is_told(library: Library) -> None:
    view, store = book_full(), MemoryStore()
    wanted = shelved(library, 20)
    async with new_cache(library, store, view) as cache, new_cache(library, store, view) as other:
        ears(cache, library)
        ears(other, library)
        assert await cache.warm(view, wanted) == ["filled"] * 20
        assert library.people.asked == 1
        assert len(store.values) == 20
        assert await other.warm(view, wanted) == ["skipped"] * 20
        assert library.people.asked == 1


async def test_who_warms_the_same_at_once_waits_and_finds_it_fresh(library: Library) -> None:
    view, store = book_full(), MemoryStore()
    wanted = shelved(library, 20)
    async with new_cache(library, store, view) as one, new_cache(library, store, view) as two:
        ears(one, library)
        ears(two, library)
        library.people.gate.clear()
        both = [asyncio.create_task(cache.warm(view, wanted)) for cache in (one, two)]
        await eventually(lambda: one.counts["waited"] + two.counts["waited"] > 0)
        library.people.gate.set()
        assert sorted(await asyncio.gather(*both)) == [["filled"] * 20, ["skipped"] * 20]
        assert library.people.asked == 1


async def test_a_reader_does_not_wait_for_what_is_composed_ahead(library: Library) -> None:
    view = book_full()
    wanted = shelved(library, 5)
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        library.people.gate.clear()
        warming = asyncio.create_task(cache.warm(view, wanted))
        await eventually(lambda: library.people.asked == 1)
        assert not cache.filler.flights
        library.people.gate.set()
        assert body(await cache.read(view, wanted[3], everybody))["heldBy"] == {"name": "Ana"}
        assert await warming == ["filled"] * 5


async def test_one_that_is_refused_does_not_fail_the_rest(library: Library) -> None:
    view = book_full()
    wanted = shelved(library, 4)

    @view.many("loans")
    async def loans(core: Library, numbers: list[str]) -> list:
        raise Refused("one of them")

    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        assert await cache.warm(view, wanted) == ["filled"] * 4
        assert body(await cache.read(view, wanted[0], everybody))["loans"] == ["first"]


async def test_each_failure_is_its_views_own(library: Library) -> None:
    view = book_full()
    wanted = shelved(library, 3)
    library.books.commit("book:1", {"title": None, "holder": "ana"})
    async with new_cache(library, MemoryStore(), view) as cache:
        ears(cache, library)
        first, second, third = await cache.warm(view, wanted)
        assert (first, third) == ("filled", "filled")
        assert isinstance(second, msgspec.ValidationError)
        library.books.down = True
        library.shelve(7)
        first, second, fourth = await cache.warm(view, [*wanted[:2], {"number": 7}])
        assert first == "skipped"
        assert isinstance(second, Down) and isinstance(fourth, Down)


async def test_without_redis_views_are_composed_into_the_process(library: Library) -> None:
    view = book_full()
    wanted = shelved(library, 3)
    async with new_cache(library, BrokenStore(), view) as cache:
        ears(cache, library)
        assert await cache.warm(view, wanted) == ["filled"] * 3
        assert "hit; detail=l1" in ((await cache.read(view, wanted[0], everybody)).header("Cache-Status") or "")

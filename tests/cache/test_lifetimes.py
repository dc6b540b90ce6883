"""How long an entry lives: soft and hard expiry, segments with a life or an end of their own, views bounded in time."""

import asyncio
from typing import Any

import msgspec
import pytest

from cloudphone_cache import Cache, View
from cloudphone_cache.testing import Clock, MemoryStore
from tests.cache.library import Library, body, book_full, everybody, new_cache
from tests.cache.test_degraded import ears

pytestmark = pytest.mark.anyio
HERE = {"number": 1}


class Gauge(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    book: Any
    loan_count: int


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(library: Library, clock: Clock, *views: View) -> Cache:
    library.shelve(1)
    cache = new_cache(library, MemoryStore(), *views, clock=clock)
    ears(cache, library)
    return cache


def gauge(**options: Any) -> View:
    view = View("gauge:{number}", Gauge, **options.pop("view", {}))

    @view.segment
    async def book(core: Library, number: str) -> Any:
        return await core.books.one(f"book:{number}")

    @view.segment(**options)
    async def loan_count(core: Library, number: str) -> int:
        [loans] = await core.people.ask(f"loans:{number}")
        return len(loans or [])

    @view.audience
    def audience(book: Any) -> Any:
        from cloudphone_cache import Audience

        return Audience(owner=book["holder"])

    return view


async def test_past_its_soft_expiry_a_proven_view_is_served_and_refreshed_behind(
    library: Library, clock: Clock
) -> None:
    view = book_full(fresh_for=300)
    async with opened(library, clock, view) as cache:
        await cache.read(view, HERE, everybody)
        library.books.values["book:1"] = {"title": "changed without a word", "holder": "ana"}
        clock.move(301)
        ears(cache, library)
        served = await asyncio.gather(*(cache.read(view, HERE, everybody) for _ in range(20)))
        assert {body(each)["book"]["title"] for each in served} == {"Emma"}
        await asyncio.gather(*cache.filler._tasks)
        assert cache.counts["refreshed_behind"] == 1
        assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "changed without a word"


async def test_past_its_hard_expiry_it_is_composed(library: Library, clock: Clock) -> None:
    view = book_full(fresh_for=300, serve_stale_for=3600)
    async with opened(library, clock, view) as cache:
        await cache.read(view, HERE, everybody)
        clock.move(3901)
        ears(cache, library)
        asked = library.books.asked
        await cache.read(view, HERE, everybody)
        assert library.books.asked == asked + 2


async def test_a_segment_with_a_life_is_asked_again_alone_and_labelled(library: Library, clock: Clock) -> None:
    view = gauge(life=5)
    async with opened(library, clock, view) as cache:
        served = await cache.read(view, HERE, everybody)
        assert served.header("x-view-bounded") == "loanCount=5"
        clock.move(4.9)
        ears(cache, library)
        await cache.read(view, HERE, everybody)
        assert (library.books.asked, library.people.asked) == (1, 1)
        clock.move(0.2)
        ears(cache, library)
        await cache.read(view, HERE, everybody)
        assert (library.books.asked, library.people.asked) == (1, 2)


async def test_refilling_one_segment_does_not_prolong_the_others(library: Library, clock: Clock) -> None:
    view = gauge(life=5, view={"fresh_for": 60})
    async with opened(library, clock, view) as cache:
        await cache.read(view, HERE, everybody)
        for _ in range(12):
            clock.move(5.1)
            ears(cache, library)
            await cache.read(view, HERE, everybody)
            await asyncio.gather(*cache.filler._tasks)
        assert library.books.asked >= 2


async def test_a_value_with_an_end_is_not_served_past_it(library: Library, clock: Clock) -> None:
    ends = clock() + 30
    view = gauge(until=lambda count: ends)
    async with opened(library, clock, view) as cache:
        await cache.read(view, HERE, everybody)
        clock.move(29)
        ears(cache, library)
        await cache.read(view, HERE, everybody)
        assert library.people.asked == 1
        clock.move(1.1)
        ears(cache, library)
        await cache.read(view, HERE, everybody)
        assert (library.books.asked, library.people.asked) == (1, 2)


async def test_a_bounded_view_needs_no_feed_and_says_how_old_it_may_be(library: Library, clock: Clock) -> None:
    view = gauge(view={"bounded_to": 5})
    library.shelve(1)
    async with new_cache(library, MemoryStore(), view, clock=clock) as cache:
        served = await cache.read(view, HERE, everybody)
        assert served.header("x-view-bounded") == "*=5"
        clock.move(4)
        assert (await cache.read(view, HERE, everybody)).header("age") == "4"
        assert library.books.asked == 1
        clock.move(1)
        await cache.read(view, HERE, everybody)
        assert library.books.asked == 2


async def test_entries_of_another_shape_are_not_read(library: Library, clock: Clock) -> None:
    async with opened(library, clock, gauge()) as cache:
        await cache.read(cache.views["gauge"], HERE, everybody)
        await asyncio.gather(*cache.filler._tasks)
        store = cache.store

    class Gauge2(Gauge, frozen=True, kw_only=True, rename="camel"):
        unit: str = "loans"

    view = View("gauge:{number}", Gauge2)
    assert view.schema != cache.views["gauge"].schema
    store.values["book:full:1"] = b"rubbish" * 9
    other = book_full()
    async with new_cache(library, store, other, clock=clock) as reading:
        ears(reading, library)
        assert body(await reading.read(other, HERE, everybody))["book"]["title"] == "Emma"


async def test_warming_fills_what_is_missing_and_skips_what_is_fresh(library: Library, clock: Clock) -> None:
    view = book_full()
    async with opened(library, clock, view) as cache:
        assert await cache.warm(view, [HERE]) == ["filled"]
        assert await cache.warm(view, [HERE]) == ["skipped"]
        clock.move(301)
        ears(cache, library)
        assert await cache.warm(view, [HERE]) == ["filled"]


async def test_an_entry_is_explained_and_can_be_dropped(library: Library, clock: Clock) -> None:
    view = book_full()
    async with opened(library, clock, view) as cache:
        assert (await cache.explain(view, HERE)).reason == "there is no entry"
        await cache.read(view, HERE, everybody)
        good = await cache.explain(view, HERE)
        assert (good.layer, good.kind, good.proven, good.owner) == ("l1", "full", True, "ana")
        assert good.versions["people"] == {"person:ana": library.people.versions["person:ana"]}
        version = library.people.commit("person:ana", {"name": "Anna"})
        ears(cache, library)
        bad = await cache.explain(view, HERE)
        assert not bad.proven
        assert f"person:ana has been announced at {version}" in bad.reason
        await asyncio.gather(*cache.filler._tasks)
        assert await cache.drop(view, HERE)
        assert not await cache.drop(view, HERE)
        assert cache.view_of("book:full:1") == (view, {"number": "1"})
        assert cache.view_of("book:full:") is cache.view_of("book:other:1") is None

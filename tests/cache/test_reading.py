"""Reading a view on a real Redis: composed once, then proven, refused as soon as it is older than announced."""

import asyncio

import pytest

from cloudphone_cache import Cache
from tests.cache.library import Gone, Library, body, book_full, everybody, listening, new_cache, only, working
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


def status(served: object) -> str:
    return served.header("cache-status").removeprefix("cloudphone; ")


async def heard(cache: Cache, library: Library) -> None:
    """Until the process has heard everything that the owners committed."""
    await eventually(
        lambda: all(cache.knowledge.services[name].position == owner.last for name, owner in library.owners.items())
    )


async def settled(cache: Cache) -> None:
    await eventually(lambda: not cache.filler._tasks)


async def test_a_view_is_composed_once_and_then_served_from_both_layers(any_redis: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with working(library, any_redis), new_cache(library, any_redis, view) as first:
        await listening(first)
        composed = await first.read(view, {"number": 1}, everybody)
        near = await first.read(view, {"number": 1}, everybody)
        await settled(first)
        async with new_cache(library, any_redis, view) as second:
            await listening(second)
            far = await second.read(view, {"number": 1}, everybody)
        assert [status(s) for s in (composed, near, far)] == [
            "fwd=miss; stored; detail=no-entry",
            "hit; detail=l1",
            "hit; detail=l2",
        ]
        assert composed.body == near.body == far.body
        assert body(far) == {
            "book": {"title": "Emma", "holder": "ana"},
            "heldBy": {"name": "Ana"},
            "loans": ["first"],
        }
        assert (library.books.asked, library.people.asked) == (2, 1)
        assert near.header("etag") == far.header("etag") != None  # noqa: E711
        assert far.header("x-fresh-as-of") is not None
        assert far.header("x-view-complete") == "true"


async def test_a_change_is_seen_on_the_next_read_once_heard(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await cache.read(view, {"number": 1}, everybody)
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        await heard(cache, library)
        served = await cache.read(view, {"number": 1}, everybody)
        assert body(served)["book"]["title"] == "Persuasion"
        assert status(served) == "fwd=stale; stored; detail=not-proven"


async def test_only_the_segment_that_shows_the_change_is_asked_again(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await heard(cache, library)
        await cache.read(view, {"number": 1}, everybody)
        asked = library.books.asked, library.people.asked
        library.people.commit("person:ana", {"name": "Anna"})
        await heard(cache, library)
        served = await cache.read(view, {"number": 1}, everybody)
        assert body(served)["heldBy"] == {"name": "Anna"}
        assert (library.books.asked, library.people.asked) == (asked[0], asked[1] + 1)


async def test_a_fill_that_read_before_a_change_and_stores_after_it_is_refused(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as slow, new_cache(library, worked, view) as reader:
        await listening(slow)
        await listening(reader)
        await heard(slow, library)
        # The filler read, and hears nothing of the change until it has stored.
        slow.tail._hear = lambda stream, entries: None
        library.people.gate.clear()
        fill = asyncio.create_task(slow.read(view, {"number": 1}, everybody))
        await eventually(lambda: library.people.asked == 1)
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        await heard(reader, library)
        library.people.gate.set()
        assert body(await fill)["book"]["title"] == "Emma"
        await settled(slow)
        assert await reader.store.get("book:full:1") is not None
        served = await reader.read(view, {"number": 1}, everybody)
        assert body(served)["book"]["title"] == "Persuasion"


async def test_a_change_during_the_fill_is_asked_for_again(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        await heard(cache, library)
        library.people.gate.clear()
        fill = asyncio.create_task(cache.read(view, {"number": 1}, everybody))
        await eventually(lambda: library.people.asked == 1)
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        await heard(cache, library)
        library.people.gate.set()
        assert body(await fill)["book"]["title"] == "Persuasion"
        assert status(await cache.read(view, {"number": 1}, everybody)) == "hit; detail=l1"


async def test_an_absent_view_is_remembered_until_it_is_created(worked: str, library: Library) -> None:
    library.shelve(2)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        for _ in range(3):
            with pytest.raises(Gone):
                await cache.read(view, {"number": 1}, everybody)
        assert library.books.asked == 2
        library.shelve(1)
        await heard(cache, library)
        assert body(await cache.read(view, {"number": 1}, everybody))["book"]["title"] == "Emma"


async def test_a_view_of_somebody_else_is_absent_whether_cached_or_not(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        for _ in range(2):
            with pytest.raises(Gone):
                await cache.read(view, {"number": 1}, only("bob"))
        assert body(await cache.read(view, {"number": 1}, only("ana")))["book"]["title"] == "Emma"


async def test_an_unchanged_view_is_304(worked: str, library: Library) -> None:
    library.shelve(1)
    view = book_full()
    async with new_cache(library, worked, view) as cache:
        await listening(cache)
        etag = (await cache.read(view, {"number": 1}, everybody)).header("etag")
        again = await cache.read(view, {"number": 1}, everybody, if_none_match=f'"other", {etag}')
        assert (again.status, again.body) == (304, b"")
        library.people.commit("person:ana", {"name": "Anna"})
        await heard(cache, library)
        changed = await cache.read(view, {"number": 1}, everybody, if_none_match=etag)
        assert changed.status == 200

"""A service that does not answer: the last good value, labelled, and not for who may have lost the right to it."""

import asyncio
from datetime import datetime

import msgspec
import pytest

from cloudphone_cache import Audience, Cache, View
from cloudphone_cache.entry import RETRY_MS
from cloudphone_cache.testing import Clock, MemoryStore
from cloudphone_cache.view import NOBODY
from tests.cache.library import Down, Gone, Library, Refused, body, book_full, everybody, new_cache, only

pytestmark = pytest.mark.anyio

EVERYTHING = everybody


class Note(msgspec.Struct, frozen=True, kw_only=True):
    holder: str
    private: str | None


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ears(cache: Cache, library: Library, *, now_ms: int | None = None) -> None:
    """The process hears all that was committed, and a heartbeat after it, of `now_ms` on the owners' clock."""
    cache.knowledge.connection_answered()
    for name, owner in library.owners.items():
        position = cache.knowledge.services[name].position
        for change in owner.changes:
            if change.seq > position:
                cache.knowledge.hear_change(name, change.seq, change.entities)
        cache.knowledge.hear_beat(name, owner.last, cache.knowledge.now_ms() if now_ms is None else now_ms)


def a_cache(library: Library, *views: View, **options: object) -> Cache:
    library.shelve(1)
    cache = new_cache(library, options.pop("store", None) or MemoryStore(), *views, **options)
    ears(cache, library)
    return cache


async def test_a_part_whose_service_is_away_keeps_its_last_good_value(library: Library, clock: Clock) -> None:
    view = book_full()
    async with a_cache(library, view, clock=clock) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        clock.move(1)
        library.people.commit("person:ana", {"name": "Anna"})
        library.people.down = True
        ears(cache, library)
        clock.move(0.5)
        served = await cache.read(view, {"number": 1}, EVERYTHING)
        assert body(served)["heldBy"] == {"name": "Ana"}
        assert body(served)["degraded"] == [{"field": "heldBy", "reason": "unavailable", "ageMs": 1500}]
        assert served.header("x-view-complete") == "true"
        assert served.header("etag") is None
        assert "degraded" in served.header("cache-status")


async def test_without_a_last_good_value_a_part_is_null_and_the_view_not_complete(library: Library) -> None:
    view = book_full()
    library.people.down = True
    async with a_cache(library, view) as cache:
        served = await cache.read(view, {"number": 1}, EVERYTHING)
        assert body(served)["heldBy"] is None
        assert body(served)["degraded"] == [{"field": "heldBy", "reason": "unavailable"}]
        assert served.header("x-view-complete") == "false"


async def test_a_part_that_is_not_kept_is_shown_by_nobody_but_its_service(library: Library) -> None:
    view = View("note:{number}", Note, fresh_for=60, serve_stale_for=600)

    @view.segment
    async def holder(core: Library, number: str) -> str:
        return (await core.books.one(f"book:{number}"))["holder"]

    @view.segment(kept=False)
    async def private(core: Library, holder: str) -> str | None:
        return (await core.people.one(f"person:{holder}"))["name"]

    async with a_cache(library, view) as cache:
        assert body(await cache.read(view, {"number": 1}, EVERYTHING))["private"] == "Ana"
        library.people.commit("person:ana", {"name": "Anna"})
        library.people.down = True
        ears(cache, library)
        served = await cache.read(view, {"number": 1}, EVERYTHING)
        assert body(served)["private"] is None
        assert body(served)["degraded"] == [{"field": "private", "reason": "unavailable"}]


@pytest.mark.parametrize("off", [-300, 300])
async def test_what_a_process_whose_clock_is_wrong_has_read_is_told_by_the_owners_time(
    library: Library, clock: Clock, off: int
) -> None:
    view, store, wrong = book_full(), MemoryStore(), Clock(clock() + off)
    there, here = (a_cache(library, view, store=store, clock=each) for each in (wrong, clock))
    ears(there, library, now_ms=here.knowledge.now_ms())
    await there.read(view, {"number": 1}, EVERYTHING)
    read_at = clock()
    for each in (clock, wrong):
        each.move(1)
    library.people.commit("person:ana", {"name": "Anna"})
    library.people.down = library.books.down = True
    ears(here, library)
    served = await here.read(view, {"number": 1}, EVERYTHING)
    assert body(served)["heldBy"] == {"name": "Ana"}
    claimed = served.header("x-fresh-as-of")
    assert claimed is not None
    # A clock that is behind costs the label as much at most, and never makes it later.
    assert read_at + min(0, off) - 1 < datetime.fromisoformat(claimed).timestamp() <= read_at


async def test_a_partial_view_is_tried_again_after_two_seconds(library: Library, clock: Clock) -> None:
    view = book_full()
    library.people.down = True
    async with a_cache(library, view, clock=clock) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        asked = library.people.asked
        library.people.down = False
        clock.move(RETRY_MS / 1000 - 0.5)
        ears(cache, library)
        assert body(await cache.read(view, {"number": 1}, EVERYTHING))["heldBy"] is None
        assert library.people.asked == asked
        clock.move(0.6)
        ears(cache, library)
        assert body(await cache.read(view, {"number": 1}, EVERYTHING))["heldBy"] == {"name": "Ana"}


async def test_a_partial_view_never_replaces_a_full_one_in_the_store(library: Library) -> None:
    view = book_full()
    store = MemoryStore()
    async with a_cache(library, view, store=store) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        await asyncio.gather(*cache.filler._tasks)
        full = store.values["book:full:1"]
        cache.local.clear()
        library.people.down = True
        library.people.commit("person:ana", {"name": "Anna"})
        ears(cache, library)
        store.values.pop("book:full:1")
        filling = cache.read(view, {"number": 1}, EVERYTHING)
        store.values["book:full:1"] = full
        await filling
        await asyncio.gather(*cache.filler._tasks)
        assert store.values["book:full:1"] == full


async def test_the_value_of_another_holder_does_not_stand_in(library: Library) -> None:
    view = book_full()
    async with a_cache(library, view) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        library.books.commit("book:1", {"title": "Emma", "holder": "bob"})
        library.people.down = True
        ears(cache, library)
        served = await cache.read(view, {"number": 1}, EVERYTHING)
        assert body(served)["heldBy"] is None


async def test_what_was_read_for_an_earlier_holder_is_not_kept_for_the_next(library: Library) -> None:
    view = View("note:{number}", Note)

    @view.segment
    async def holder(core: Library, number: str) -> str:
        return (await core.books.one(f"book:{number}"))["holder"]

    @view.segment
    async def private(core: Library, number: str) -> str | None:
        return (await core.people.one(f"private:{number}"))["text"]

    @view.audience
    def audience(holder: str) -> Audience:
        return Audience(owner=holder)

    library.people.commit("private:1", {"text": "ana's diary"})
    async with a_cache(library, view) as cache:
        assert body(await cache.read(view, {"number": 1}, only("ana")))["private"] == "ana's diary"
        library.books.commit("book:1", {"title": "Emma", "holder": "bob"})
        library.people.commit("private:1", {"text": "bob's"})
        library.people.down = True
        ears(cache, library)
        assert body(await cache.read(view, {"number": 1}, only("bob")))["private"] is None


async def test_the_whole_view_outlives_its_primary_service(library: Library) -> None:
    view = book_full()
    async with a_cache(library, view) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        library.people.commit("person:ana", {"name": "Anna"})
        cache.local.get("book:full:1").until = 0
        library.books.down = True
        ears(cache, library)
        cache.knowledge.services["books"].since = 0
        # The entry's book is proven still; force the question by letting it fall due.
        cache.knowledge.services["books"].good_until = 0
        served = await cache.read(view, {"number": 1}, only("ana"))
        assert body(served)["book"]["title"] == "Emma"
        assert body(served)["heldBy"] == {"name": "Anna"}
        assert {field["field"] for field in body(served)["degraded"]} == {"book", "loans"}


async def test_a_stale_view_is_not_shown_to_who_may_have_lost_it(library: Library) -> None:
    view = book_full()
    async with a_cache(library, view) as cache:
        await cache.read(view, {"number": 1}, only("ana"))
        library.books.commit("book:1", {"title": "Emma", "holder": "bob"})
        library.books.down = True
        ears(cache, library)
        with pytest.raises(Down):
            await cache.read(view, {"number": 1}, only("ana"))
        with pytest.raises(Gone):
            await cache.read(view, {"number": 1}, only("bob"))
        assert Audience() == NOBODY
        assert body(await cache.read(view, {"number": 1}, EVERYTHING))["degraded"]


async def test_nothing_to_show_is_unavailable(library: Library) -> None:
    view = book_full()
    library.books.down = True
    async with a_cache(library, view) as cache:
        with pytest.raises(Down):
            await cache.read(view, {"number": 1}, EVERYTHING)


async def test_a_refusal_passes_through_even_when_a_last_good_view_is_there(library: Library) -> None:
    view = View("note:{number}", Note)
    says_no = False

    @view.segment
    async def holder(core: Library, number: str) -> str:
        if says_no:
            await core.books.ask(f"book:{number}")
            raise Refused
        return (await core.books.one(f"book:{number}"))["holder"]

    @view.segment
    async def private(core: Library, number: str) -> str | None:
        await asyncio.gather(core.people.ask("person:ana"), core.people.ask("person:ana"))
        return None

    async with a_cache(library, view) as cache:
        await cache.read(view, {"number": 1}, EVERYTHING)
        says_no = True
        library.books.commit("book:1", {"title": "Emma", "holder": "bob"})
        ears(cache, library)
        with pytest.raises(Refused):
            await cache.read(view, {"number": 1}, EVERYTHING)


async def test_a_refusal_inside_a_task_group_is_that_refusal(library: Library) -> None:
    view = View("note:{number}", Note)

    @view.segment
    async def holder(core: Library, number: str) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(core.books.one("book:404"))
        return ""

    @view.segment
    async def private(core: Library, number: str) -> str | None:
        return None

    async with a_cache(library, view) as cache:
        with pytest.raises(Gone):
            await cache.read(view, {"number": 1}, EVERYTHING)
        assert cache.local.get("note:1").kind == b"N"


async def test_an_answer_that_names_no_entity_is_not_stored(library: Library) -> None:
    view = book_full()
    library.people.names_its_entities = False
    async with a_cache(library, view) as cache:
        served = await cache.read(view, {"number": 1}, EVERYTHING)
        assert served.header("cache-status") == "cloudphone; fwd=miss; detail=no-entry"
        assert cache.local.get("book:full:1") is None

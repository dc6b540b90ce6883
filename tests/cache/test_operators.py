"""What an operator asks of all processes: the board in Redis, misses and their reasons, what every layer holds."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudphone_cache import Cache
from cloudphone_cache.board import Board
from cloudphone_cache.redis import parse, patient_client
from tests.cache.library import Gone, Library, book_full, everybody, listening, new_cache, only, working
from tests.cache.test_reading import heard, settled
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
HERE = {"number": 1}


@contextlib.asynccontextmanager
async def processes(library: Library, url: str, *names: str) -> AsyncIterator[list[Cache]]:
    """Caches that hear the feed and know each other."""
    async with contextlib.AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(new_cache(library, url, book_full(), name=name)) for name in names]
        for cache in caches:
            await listening(cache)

        async def met() -> bool:
            return all([len(await cache.desk.processes()) == len(names) for cache in caches])

        await eventually(met)
        yield caches


async def read(cache: Cache, sees: Any = everybody, **params: object) -> Any:
    return await cache.read(cache.views["book:full"], params or HERE, sees)


async def test_every_process_is_on_the_board_until_it_ends(any_redis: str, library: Library) -> None:
    library.shelve(1)
    async with working(library, any_redis), processes(library, any_redis, "admin", "admin", "portal") as caches:
        await read(caches[0])
        await read(caches[0])
        states = await caches[2].desk.processes()
        assert [state.process.name for state in states] == ["admin", "admin", "portal"]
        assert all(state.answers and state.report.live for state in states)
        first = next(state for state in states if state.process.id == caches[0].desk.process.id)
        assert (first.report.counters["hits_l1"], first.report.counters["misses"]) == (1, 1)
        assert (first.report.hit_rate, first.report.l1_entries) == (0.5, 1)
        assert {feed.service for feed in first.report.feeds} == {"books", "people"}
        await caches[0].desk.close()

        async def two_are_left() -> bool:
            return len(await caches[2].desk.processes()) == 2

        await eventually(two_are_left)


async def test_a_process_that_has_heard_less_is_so_many_changes_behind(worked: str, library: Library) -> None:
    library.shelve(1)
    async with processes(library, worked, "ahead", "behind") as (ahead, behind):
        await heard(behind, library)
        behind.tail, tail = None, behind.tail
        assert tail is not None and behind._tailing is not None
        behind._tailing.cancel()
        for number in range(5):
            library.books.commit(f"book:{number}", {"title": "Emma", "holder": None})
        await heard(ahead, library)
        states = {state.process.name: state.report.feeds for state in await ahead.desk.processes()}
        books = {name: next(feed for feed in feeds if feed.service == "books") for name, feeds in states.items()}
        assert (books["ahead"].behind, books["behind"].behind) == (0, 5)
        assert ahead._tailing is not None
        ahead._tailing.cancel()
        for number in range(2):
            library.books.commit(f"book:{number}", {"title": "Emma", "holder": None})

        async def so_far() -> set[int | None]:
            states = await ahead.desk.processes()
            return {feed.behind for state in states for feed in state.report.feeds if feed.service == "books"}

        async def both_behind() -> bool:
            return await so_far() == {2, 7}

        await eventually(both_behind)


async def test_a_miss_says_why_in_every_process_and_by_request(worked: str, library: Library) -> None:
    library.shelve(1)
    async with processes(library, worked, "admin", "portal") as (admin, portal):
        portal.misses._request_id = lambda: "asked-by-ana"
        cold = await read(admin)
        await settled(admin)
        library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})
        await heard(portal, library)
        changed = await read(portal)
        assert cold.header("cache-status").endswith("detail=no-entry")
        assert changed.header("cache-status").endswith("detail=not-proven")
        gathered = await admin.desk.misses(10, key="book:full:1")
        found = {who.name: [(miss.why, miss.reason) for miss in misses] for who, misses in gathered.answers}
        assert found["admin"] == [("no-entry", "there is no entry")]
        [(why, reason)] = found["portal"]
        assert why == "not-proven" and reason.startswith("book:1 has been announced at")
        [(_, by_request)] = [
            each for each in (await admin.desk.misses(10, request_id="asked-by-ana")).answers if each[1]
        ]
        assert [miss.key for miss in by_request] == ["book:full:1"]
        await eventually(lambda: portal.desk.report().hit_rate == 0.0)


async def test_a_hit_notes_nothing_and_somebody_elses_view_is_told_apart(worked: str, library: Library) -> None:
    library.shelve(1)
    async with processes(library, worked, "admin") as (cache,):
        await read(cache)
        await read(cache)
        assert [miss.why for miss in cache.misses.latest(10)] == ["no-entry"]
        with pytest.raises(Gone):
            await read(cache, only("bob"))
        assert [miss.why for miss in cache.misses.latest(10)] == ["audience", "no-entry"]


async def test_what_is_dropped_is_dropped_in_every_process(any_redis: str, library: Library) -> None:
    library.shelve(1)
    async with working(library, any_redis), processes(library, any_redis, "admin", "admin", "portal") as caches:
        for cache in caches:
            await eventually(lambda cache=cache: cache.store.available)
            await read(cache)
            await settled(cache)
        assert [len(cache.local) for cache in caches] == [1, 1, 1]
        gathered = await caches[0].desk.drop("book:full:1")
        assert [len(cache.local) for cache in caches] == [0, 0, 0]
        assert (len(gathered.answers), gathered.silent) == (3, [])
        assert any(dropped.dropped for _, dropped in gathered.answers)
        assert "hit" not in (await read(caches[1])).header("cache-status")


async def test_each_layer_tells_what_it_holds_and_what_is_asked_for_most(worked: str, library: Library) -> None:
    for number in range(1, 4):
        library.shelve(number)
    async with processes(library, worked, "admin", "portal") as (admin, portal):
        for number in range(1, 4):
            for _ in range(2 * number):
                await read(admin, number=number)
        surveys = {who.name: survey for who, survey in (await portal.desk.survey(2)).answers}
        assert (surveys["portal"].entries, surveys["portal"].hottest) == (0, [])
        assert surveys["admin"].entries == 3 and surveys["admin"].bytes == admin.local.bytes
        assert [(shelf.view, shelf.entries) for shelf in surveys["admin"].views] == [("book:full", 3)]
        assert [held.key for held in surveys["admin"].hottest] == ["book:full:3", "book:full:2"]


async def test_who_is_silent_is_named_and_what_it_last_said_stands(
    worked: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(library, worked, "admin", "portal") as (admin, portal):
        board = portal.desk._board
        assert board is not None and board._running is not None
        board._running.cancel()
        monkeypatch.setitem(Board.ask.__kwdefaults__, "within", 0.5)
        gathered = await admin.desk.survey(1)
        assert [process.name for process in gathered.silent] == ["portal"]
        states = {state.process.name: state for state in await admin.desk.processes()}
        assert states["admin"].answers and not states["portal"].answers
        assert states["portal"].report.at_ms <= states["admin"].report.at_ms


async def test_without_redis_a_process_answers_for_itself(library: Library) -> None:
    async with new_cache(library, "redis://127.0.0.1:1/0", book_full(), name="admin") as cache:
        library.shelve(1)
        await read(cache)
        assert [state.process.name for state in await cache.desk.processes()] == ["admin"]
        [(_, misses)] = (await cache.desk.misses(10)).answers
        assert [miss.why for miss in misses] == ["redis-away"]


async def test_the_boards_keys_all_have_an_end(worked: str, library: Library) -> None:
    async with processes(library, worked, "admin", "portal") as (admin, _):
        await admin.desk.survey(1)
        client = patient_client(parse(worked), read_timeout=60.0)
        keys = [key async for key in client.scan_iter(match="{processes}*")]
        assert len(keys) >= 4
        assert all([await client.pttl(key) > 0 for key in keys])
        await client.aclose()

"""One thing after another fails while views are read and changed: each is answered, and nothing stale as fresh."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from anyio import to_thread

from cloudphone_cache import Audience, Cache, View
from cloudphone_cache.feed import stream_of
from cloudphone_cache.redis import dial, parse
from tests.cache.library import Book, BookFull, Library, Owner, body, book_full, everybody, new_cache, working
from tests.cache.test_reading import heard, status
from tests.cache.watching import HERE, Watch, watched
from tests.conditions import eventually
from tests.conftest import running
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def patience() -> None:
    """That of production."""


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with running(Valkey) as server:
        yield server


@pytest.fixture
async def watch(server: Valkey, library: Library) -> AsyncIterator[Watch]:
    async with (
        working(library, server.url) as appender,
        caches(server, library) as (near, far, view),
        watched(library, view, near, far) as watch,
    ):
        watch.appender = appender
        yield watch


async def tell(server: Valkey, *command: str | int) -> object:
    link = await dial(parse(server.url), within=60.0)
    try:
        return await link.ask(*command)
    finally:
        link.close()


async def restarted_empty(server: Valkey, watch: Watch) -> None:
    server.kill()
    await watch.noticed()
    await to_thread.run_sync(server.start)


async def restarted_from_a_snapshot(server: Valkey, watch: Watch) -> None:
    """With views and a feed as they were some changes ago."""
    await tell(server, "SET", "only then", 1)
    assert await tell(server, "SAVE") == b"OK"
    await tell(server, "DEL", "only then")
    await watch.answered_from_the_cache_again()
    server.kill()
    await to_thread.run_sync(server.start)
    (server.folder / "dump.rdb").unlink()
    assert await tell(server, "EXISTS", "only then") == 1


async def flushed(server: Valkey, watch: Watch) -> None:
    await tell(server, "FLUSHALL")


async def feed_evicted(server: Valkey, watch: Watch) -> None:
    """The views are still there."""
    await tell(server, "DEL", stream_of("books"))


async def short_of_memory(server: Valkey, watch: Watch) -> None:
    """It throws away what was not used of late, the feed included, until that has happened three times."""
    link = await dial(parse(server.url), within=60.0)
    await link.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    memory = dict(line.split(b":", 1) for line in (await link.ask("INFO", "memory")).splitlines() if b":" in line)
    await link.ask("CONFIG", "SET", "maxmemory", int(memory[b"used_memory"]) + 300_000)
    number, before = 0, watch.appender.gaps
    async with asyncio.timeout(120):
        while watch.appender.gaps < before + 3:
            number += 1
            await link.ask("SET", f"other:{number}", "x" * 1000, "PX", 60_000)
    await link.ask("CONFIG", "SET", "maxmemory", 0)
    link.close()


async def frozen(server: Valkey, watch: Watch) -> None:
    server.pause()
    try:
        await watch.noticed()
        composed = watch.not_stored
        # While it lasts, whoever asks is answered.
        await eventually(lambda: watch.not_stored > composed + 50)
    finally:
        server.resume()


Fault = Callable[[Valkey, Watch], Awaitable[None]]


@pytest.mark.parametrize(
    "fault",
    [
        restarted_empty, restarted_from_a_snapshot, flushed, feed_evicted, short_of_memory, frozen,
    ],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
async def test_redis_fails_and_comes_back(fault: Fault, server: Valkey, watch: Watch) -> None:
    await fault(server, watch)
    await watch.answered_from_the_cache_again()


async def test_a_process_that_stood_still_takes_nothing_for_proven_when_it_goes_on(watch: Watch) -> None:
    number = watch.change()
    time.sleep(2.5)  # noqa: ASYNC251  # as a stopped process does, with everything in it
    for cache in watch.caches:
        shown, source = await watch.look(cache)
        assert shown >= number, source
    await watch.answered_from_the_cache_again()


async def test_a_feed_worker_that_dies_is_replaced_by_one_that_begins_with_what_it_had_done(
    server: Valkey, library: Library
) -> None:
    async with caches(server, library) as (near, far, view), AsyncExitStack() as worker:
        await worker.enter_async_context(working(library, server.url))
        async with watched(library, view, near, far) as watch:
            await worker.aclose()
            await watch.noticed()
            composed = watch.composed
            await eventually(lambda: watch.composed > composed + 5)
            await worker.enter_async_context(working(library, server.url))
            await watch.answered_from_the_cache_again()


@pytest.mark.parametrize("told", [True, False], ids=["with-a-new-incarnation", "forgotten"])
async def test_a_database_restored_from_a_backup_shows_what_it_holds(
    server: Valkey, library: Library, told: bool
) -> None:
    """What was lost shows until the first heartbeat after the restore, or until the feed is too old."""
    async with working(library, server.url), caches(server, library) as (near, far, view):
        restore = library.books.backup()
        library.books.commit("book:1", {"title": "lost", "holder": "ana"})
        for cache in (near, far):
            await eventually(lambda cache=cache: _hit_with(cache, view, "lost"))
        restore()
        if told:
            library.books.incarnation += 1
            for cache in (near, far):
                await heard(cache, library)
        else:
            young = [cache.knowledge.services["books"] for cache in (near, far)]
            await eventually(lambda: all(near.knowledge.now_ms() >= feed.good_until for feed in young))
        for cache in (near, far):
            for _ in range(5):
                assert body(await cache.read(view, HERE, everybody))["book"]["title"] == "0"
            if told:
                await eventually(lambda cache=cache: _hit_with(cache, view, "0"))


async def _hit_with(cache: Cache, view: object, title: str) -> bool:
    served = await cache.read(view, HERE, everybody)
    return status(served).startswith("hit") and body(served)["book"]["title"] == title


async def test_a_feed_that_was_trimmed_under_a_slow_reader_proves_nothing_from_before(
    server: Valkey, library: Library
) -> None:
    async with working(library, server.url), caches(server, library) as (slow, other, view):
        await eventually(lambda: _hit_with(slow, view, "0"))
        slow._tailing.cancel()
        library.books.commit("book:1", {"title": "cut off", "holder": "ana"})
        for number in range(20):
            library.books.commit(f"loans:{number}", [])
        await heard(other, library)
        await tell(server, "XTRIM", stream_of("books"), "MINID", library.books.last)
        before = slow.knowledge.services["books"].since
        slow._tailing = asyncio.create_task(slow.tail.run())
        await heard(slow, library)
        assert slow.knowledge.services["books"].since > before
        assert body(await slow.read(view, HERE, everybody))["book"]["title"] == "cut off"
        await eventually(lambda: _hit_with(slow, view, "cut off"))


class Shelf(msgspec.Struct, frozen=True):
    room: str


class BookPlaced(msgspec.Struct, frozen=True):
    book: Book
    shelf: Shelf


def book_placed() -> View[BookPlaced]:
    """A view that shows something of a service which the others do not know."""
    view = View("book:placed:{number}", BookPlaced, fresh_for=300, serve_stale_for=3600)

    @view.segment
    async def book(core: Library, number: str) -> Book:
        return msgspec.convert(await core.books.one(f"book:{number}"), Book)

    @view.segment
    async def shelf(core: Library, number: str) -> Shelf:
        return msgspec.convert(await core.more[0].one(f"shelf:{number}"), Shelf)

    @view.audience
    def audience(book: Book) -> Audience:
        return Audience(tenant="town", owner=None)

    return view


async def test_a_service_that_is_added_leaves_the_others_as_they_are_and_is_cached_once_its_feed_is_written(
    server: Valkey, library: Library
) -> None:
    async with AsyncExitStack() as worker, caches(server, library) as (former, _, view):
        await worker.enter_async_context(working(library, server.url))
        await eventually(lambda: _hit_with(former, view, "0"))
        shelves, placed, larger = Owner("shelves"), book_placed(), Library()
        larger.books, larger.people, larger.more = library.books, library.people, [shelves]
        shelves.commit("shelf:1", {"room": "attic"})
        every = ("books", "people", "shelves")
        async with (
            new_cache(larger, server.url, book_full(), placed, services=every) as new,
            new_cache(larger, server.url, placed) as behind,
        ):
            await eventually(lambda: _hit_with(new, view, "0"))
            for cache in (new, behind):
                for _ in range(3):
                    served = await cache.read(placed, HERE, everybody)
                    assert (status(served)[:3], body(served)["shelf"]["room"]) == ("fwd", "attic")
            await eventually(lambda: _hit_with(former, view, "0"))
            await worker.aclose()
            await worker.enter_async_context(working(larger, server.url))
            await eventually(lambda: _hit_with(new, placed, "0"))
            shelves.commit("shelf:1", {"room": "cellar"})
            await heard(new, larger)
            assert body(await new.read(placed, HERE, everybody))["shelf"]["room"] == "cellar"
            for _ in range(3):
                served = await behind.read(placed, HERE, everybody)
                assert (status(served)[:3], body(served)["shelf"]["room"]) == ("fwd", "cellar")
            await eventually(lambda: _hit_with(former, view, "0"))


@asynccontextmanager
async def caches(server: Valkey, library: Library) -> AsyncIterator[tuple[Cache, Cache, View[BookFull]]]:
    """One with both layers and one without its own, on an empty Redis, and a book to read."""
    await tell(server, "FLUSHALL")
    library.shelve(1, title="0")
    view = book_full()
    async with (
        new_cache(library, server.url, view) as near,
        new_cache(library, server.url, view, l1_bytes=0) as far,
    ):
        yield near, far, view

"""One thing after another fails while views are read and changed: each is answered, and nothing stale as fresh."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from anyio import to_thread

from cloudphone_cache.feed import stream_of
from cloudphone_cache.redis import dial, parse
from tests.cache.library import Library, book_full, new_cache, working
from tests.cache.watching import Watch, watched
from tests.conftest import running
from tests.servers import Valkey

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with running(Valkey) as server:
        yield server


@pytest.fixture
async def watch(server: Valkey, library: Library) -> AsyncIterator[Watch]:
    """A cache with both layers and one without its own, over a feed that is written all the while."""
    await tell(server, "FLUSHALL")
    library.shelve(1, title="0")
    view = book_full()
    async with (
        working(library, server.url) as appender,
        new_cache(library, server.url, view) as near,
        new_cache(library, server.url, view, l1_bytes=0) as far,
        watched(library, view, near, far) as watch,
    ):
        watch.appender = appender
        yield watch


async def tell(server: Valkey, *command: str | int) -> object:
    link = await dial(parse(server.url), within=5.0)
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
    link = await dial(parse(server.url))
    await link.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    memory = dict(line.split(b":", 1) for line in (await link.ask("INFO", "memory")).splitlines() if b":" in line)
    await link.ask("CONFIG", "SET", "maxmemory", int(memory[b"used_memory"]) + 300_000)
    number, before = 0, watch.appender.gaps
    while watch.appender.gaps < before + 3:
        number += 1
        await link.ask("SET", f"other:{number}", "x" * 1000, "PX", 60_000)
    await link.ask("CONFIG", "SET", "maxmemory", 0)
    link.close()


async def frozen_for_five_seconds(server: Valkey, watch: Watch) -> None:
    server.pause()
    try:
        await watch.noticed()
        composed = watch.not_stored
        await asyncio.sleep(3.0)  # the fault itself: what is asked now must be answered before it ends
        assert watch.not_stored > composed
        assert watch.slowest < 4.0
    finally:
        server.resume()


Fault = Callable[[Valkey, Watch], Awaitable[None]]


@pytest.mark.parametrize(
    "fault",
    [
        restarted_empty, restarted_from_a_snapshot, flushed, feed_evicted, short_of_memory, frozen_for_five_seconds,
    ],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
async def test_redis(fault: Fault, server: Valkey, watch: Watch) -> None:
    await fault(server, watch)
    await watch.answered_from_the_cache_again()

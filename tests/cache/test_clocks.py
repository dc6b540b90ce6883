"""A clock is moved by minutes, in one process or at an owner's database: labels stay true, and hits come back."""

import time
from collections.abc import AsyncIterator

import pytest

from cloudphone_cache import Cache
from tests.cache.library import Library, book_full, new_cache, working
from tests.cache.watching import Watch, watched
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
MINUTES = 300.0


@pytest.fixture(autouse=True)
def patience() -> None:
    """That of production."""


class Settable:
    """The machine's clock, some seconds off."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def __call__(self) -> float:
        return time.time() + self.off


@pytest.fixture
def readers() -> Settable:
    return Settable()


@pytest.fixture
async def watch(redis_url: str, library: Library, readers: Settable) -> AsyncIterator[Watch]:
    """Two caches with one clock, a third with the right one."""
    library.shelve(1, title="0")
    view = book_full()
    async with (
        working(library, redis_url),
        new_cache(library, redis_url, view, clock=readers, steady=time.monotonic) as near,
        new_cache(library, redis_url, view, clock=readers, steady=time.monotonic, l1_bytes=0) as far,
        new_cache(library, redis_url, view) as other,
        watched(library, view, near, far, other) as watch,
    ):
        yield watch


async def composing(watch: Watch, *caches: Cache) -> None:
    """Until these have taken their feeds for too old, and answered a few times since."""
    await eventually(lambda: all(each.knowledge.now_ms() >= each.knowledge.good_until for each in caches))
    for cache in caches:
        for _ in range(5):
            _, source = await watch.look(cache)
            assert source.startswith("fwd"), source


async def test_a_readers_clock_set_forward(watch: Watch, readers: Settable) -> None:
    """To it the feed looks old: it composes, and tells the owners' time all the same."""
    near, far, other = watch.caches
    readers.off = MINUTES
    await composing(watch, near, far)
    last = watch.change()
    await eventually(lambda: watch.answers_from_the_cache(other, last))
    readers.off = 0.0
    await watch.answered_from_the_cache_again()


async def test_a_readers_clock_set_back(watch: Watch, readers: Settable) -> None:
    readers.off = -MINUTES
    await watch.answered_from_the_cache_again()
    readers.off = 0.0
    await watch.answered_from_the_cache_again()


async def test_an_owners_clock_set_forward(watch: Watch) -> None:
    await watch.set_owners_clock(Settable(MINUTES))
    await watch.answered_from_the_cache_again()
    await watch.set_owners_clock(Settable())
    await watch.answered_from_the_cache_again()


async def test_an_owners_clock_set_back(watch: Watch) -> None:
    await watch.set_owners_clock(Settable(-MINUTES))
    await composing(watch, *watch.caches)
    await watch.set_owners_clock(Settable())
    await watch.answered_from_the_cache_again()

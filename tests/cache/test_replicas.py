"""Answers that were read from a replica are as old as the feed tells, and nobody claims more."""

from collections.abc import Mapping

import pytest

from cloudphone_cache.composition import observed, observer
from cloudphone_cache.platform.serving import each_noted
from cloudphone_cache.response import spell_time
from cloudphone_cache.testing import Clock, MemoryStore
from cloudphone_shared.contracts.common import Answer, Many
from tests.cache.library import Library, body, everybody, new_cache
from tests.cache.test_degraded import ears

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rename(library: Library) -> None:
    library.books.commit("book:1", {"title": "Persuasion", "holder": "ana"})


async def test_who_has_heard_nothing_does_not_know_how_far_a_replica_has_followed(
    library: Library, clock: Clock
) -> None:
    library.shelve(1)
    library.books.freeze()
    rename(library)
    async with new_cache(library, MemoryStore(), clock=clock) as cache:
        served = await cache.read(cache.views["book:full"], {"number": 1}, everybody)
    assert body(served)["book"]["title"] == "Emma"
    assert served.header("x-fresh-as-of") is None
    assert served.header("cache-status") == "cloudphone; fwd=miss; detail=not-fresh"


async def test_while_the_feed_is_silent_a_replica_counts_as_fresh_as_of_what_was_heard(
    library: Library, clock: Clock
) -> None:
    library.shelve(1)
    async with new_cache(library, MemoryStore(), clock=clock) as cache:
        ears(cache, library)
        heard = spell_time(cache.knowledge.now_ms()).decode()
        library.books.freeze()
        clock.move(3)
        rename(library)
        clock.move(1)
        served = await cache.read(cache.views["book:full"], {"number": 1}, everybody)
    assert body(served)["book"]["title"] == "Emma"
    assert (served.header("x-fresh-as-of"), served.header("age")) == (heard, "4")


async def test_what_a_replica_lacks_is_not_claimed_when_another_service_is_away(library: Library, clock: Clock) -> None:
    library.shelve(1)
    library.books.freeze()
    rename(library)
    library.people.down = True
    async with new_cache(library, MemoryStore(), clock=clock) as cache:
        cache.knowledge.connection_answered()
        for name, owner in library.owners.items():
            # It began when the change itself had been trimmed from the feed.
            cache.knowledge.hear_beat(name, owner.last, cache.knowledge.now_ms())
        served = await cache.read(cache.views["book:full"], {"number": 1}, everybody)
    assert body(served)["book"]["title"] == "Emma"
    assert body(served)["degraded"] == [{"field": "heldBy", "reason": "unavailable"}]
    assert served.header("x-fresh-as-of") is None
    assert served.header("cache-status") == "cloudphone; fwd=miss; detail=not-fresh"


async def test_a_replica_that_has_followed_is_as_good_as_its_primary(library: Library, clock: Clock) -> None:
    library.shelve(1)
    library.books.freeze()
    async with new_cache(library, MemoryStore(), clock=clock) as cache:
        ears(cache, library)
        view = cache.views["book:full"]
        first, second = [await cache.read(view, {"number": 1}, everybody) for _ in range(2)]
    assert first.header("cache-status") == "cloudphone; fwd=miss; stored; detail=no-entry"
    assert second.header("cache-status") == "cloudphone; hit; detail=l1"


async def test_the_number_that_a_replica_names_for_a_batch_counts_for_each_of_it() -> None:
    noted: list[tuple[str, Mapping[str, int], int | None]] = []

    class Noting:
        def observe(self, service: str, entities: Mapping[str, int], seq: int | None) -> None:
            noted.append((service, entities, seq))

    async def asking() -> Many[str]:
        observed("device", {}, 5)
        return Many(found={"1": Answer(data="Phone", entities={"device:1": 3})}, absent={"2": {"device:2": 0}})

    before = observer.set(Noting())
    try:
        assert await each_noted("device", asking(), ["1", "2"]) == ["Phone"]
    finally:
        observer.reset(before)
    assert noted == [("device", {"device:1": 3}, 5), ("device", {"device:2": 0}, 5)]

"""Another Redis takes over, under Sentinel and in a cluster: everything follows, and nothing old is shown."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cloudphone_cache import RedisAway
from cloudphone_cache.redis import Address, dial, master_of, parse
from tests.cache.library import Library, book_full, new_cache, working
from tests.cache.watching import Watch, watched
from tests.conditions import eventually
from tests.conftest import running
from tests.patience import patient_caches
from tests.replicated import ClusterWithReplica, Following, Sentinel, UnderSentinel, sentinel_url

pytestmark = pytest.mark.anyio
FEED = b"{changes}:books"
SOON = 150.0
"""Seconds, of which the election takes two or three; a starved machine the rest."""


@pytest.fixture(autouse=True)
def patience() -> None:
    """That of production."""


Pair = UnderSentinel | ClusterWithReplica


@pytest.fixture(params=[UnderSentinel, ClusterWithReplica], ids=["sentinel", "cluster"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with running(request.param) as servers:
        yield servers


@pytest.fixture
async def watch(pair: Pair, library: Library) -> AsyncIterator[Watch]:
    """A cache with both layers and one without its own, over a feed that is written all the while."""
    library.shelve(1, title="0")
    view = book_full()
    async with (
        working(library, pair.url),
        new_cache(library, pair.url, view) as near,
        new_cache(library, pair.url, view, l1_bytes=0) as far,
        watched(library, view, near, far) as watch,
    ):
        yield watch


async def leads(pair: Pair, port: int) -> bool:
    try:
        return (await master_of(parse(pair.url), FEED))[1] == port
    except RedisAway:
        return False


async def test_a_killed_master_is_followed_by_its_replica_and_what_was_asked_meanwhile_is_composed(
    pair: Pair, watch: Watch
) -> None:
    pair.lose_patience()
    pair.master.kill()
    composed = watch.composed
    await eventually(lambda: watch.composed > composed + 5)
    await eventually(lambda: leads(pair, pair.replica.port), SOON)
    await watch.answered_from_the_cache_again(SOON)


async def test_a_frozen_master_that_wakes_up_after_its_replica_took_over_is_not_read_from(
    pair: Pair, watch: Watch
) -> None:
    pair.lose_patience()
    pair.master.pause()
    try:
        await eventually(lambda: leads(pair, pair.replica.port), SOON)
        # From here on it would be the machine's slowness alone that lets somebody else take over.
        pair.be_patient()
        await watch.answered_from_the_cache_again(SOON)
    finally:
        pair.master.resume()
    await watch.answered_from_the_cache_again(SOON)
    await eventually(lambda: leads(pair, pair.replica.port), SOON)


async def test_a_server_that_was_demoted_is_given_up_and_not_connected_to(library: Library) -> None:
    """By hand, and at the same address: connections stay, and reads would be answered from the past."""
    library.shelve(1, title="0")
    view = book_full()
    with running(Following) as here, running(Following) as there:
        async with (
            working(library, here.url),
            new_cache(library, here.url, view) as near,
            new_cache(library, here.url, view, l1_bytes=0) as far,
            watched(library, view, near, far) as watch,
        ):
            async with told(here, "REPLICAOF", "127.0.0.1", there.port):
                await watch.noticed()
                await eventually(lambda: not far.store.available)
                with pytest.raises(RedisAway, match="no master but a slave"):
                    await dial(parse(here.url), within=60.0)
            await watch.answered_from_the_cache_again()


@asynccontextmanager
async def told(server: Following, *command: str | int) -> AsyncIterator[None]:
    """The command at the beginning; at the end it is a master again."""
    link = await dial(parse(server.url), within=60.0)
    await link.ask(*command)
    try:
        yield
    finally:
        await link.ask("REPLICAOF", "NO", "ONE")
        link.close()


async def test_of_sentinels_that_disagree_most_are_believed_and_one_alone_only_if_it_names_a_master() -> None:
    with patient_caches(), running(Following) as master, running(lambda: Following(master)) as replica:
        right = [Sentinel(master), Sentinel(master)]
        wrong = Sentinel(replica)
        try:
            for sentinel in (*right, wrong):
                sentinel.start()
            for order in ([wrong, *right], [*right, wrong]):
                assert (await master_of(parse(sentinel_url(*order))))[1] == master.port
            right[1].kill()
            right[0].kill()
            with pytest.raises(RedisAway, match="no master but a slave"):
                await dial(parse(sentinel_url(wrong, *right)))
            with pytest.raises(RedisAway, match="no sentinel knows a master named cloudphone"):
                await dial(parse(sentinel_url(*right)))
        finally:
            for sentinel in (*right, wrong):
                sentinel.remove()


async def test_a_url_names_one_server_a_cluster_or_the_sentinels_of_a_master() -> None:
    one, many = parse("redis://ana:s%40fe@host:1/3"), parse("rediss+cluster://a,b:7000")
    assert one == Address(nodes=(("host", 1),), username="ana", password="s@fe", db=3)
    assert many == Address(nodes=(("a", 6379), ("b", 7000)), cluster=True, tls=True)
    watched = parse("redis+sentinel://:pw@a,b:5/main/2")
    assert watched == Address(nodes=(("a", 26379), ("b", 5)), password="pw", master="main", db=2)
    assert parse("rediss+sentinel://a/main") == Address(nodes=(("a", 26379),), tls=True, master="main")
    for wrong in ("redis+sentinel://a", "redis+sentinel://a/", "http://a", "redis"):
        with pytest.raises(ValueError, match="a Redis URL"):
            parse(wrong)

"""The change feed on each kind of Redis: in order, without a hole, whatever becomes of the messages or the stream."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from cloudphone_cache import Appender, Beat, Change, Knowledge
from cloudphone_cache.feed import Item, Tail, stream_of
from cloudphone_cache.knowledge import INCARNATION
from cloudphone_cache.redis import parse, patient_client
from cloudphone_cache.testing import Clock
from tests.cache.library import Down
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
FIRST = INCARNATION
T0 = 1_800_000_000_000


def change(number: int, incarnation: int = 1) -> Change:
    return Change(incarnation * INCARNATION + number, {f"e{number}": number})


class Outbox:
    """An owner's changes, as they can be fetched."""

    def __init__(self, changes: Sequence[Change] = (), page: int = 1000) -> None:
        self.changes = list(changes)
        self.page = page
        self.down = False
        self.asked: list[tuple[int | None, int | None]] = []

    async def fetch(self, service: str, *, after: int | None = None, since_ms: int | None = None) -> Sequence[Change]:
        self.asked.append((after, since_ms))
        if self.down:
            raise Down(service)
        return [c for c in self.changes if after is None or c.seq > after][: self.page]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
async def appender(any_redis: str, outbox: Outbox) -> AsyncIterator[Appender]:
    appender = Appender(parse(any_redis), outbox.fetch)
    yield appender
    await appender.close()


async def stream(appender: Appender) -> list[str]:
    return [item.decode() for item, _ in await appender._redis.xrange(stream_of("s"))]


def ids(*items: Item) -> list[str]:
    return [f"{item.seq}-{item.t_ms if isinstance(item, Beat) else 0}" for item in items]


async def test_changes_and_heartbeats_are_appended_once_in_order(appender: Appender) -> None:
    begin = Beat(FIRST, T0)
    items: list[Item] = [begin, change(1), change(2), Beat(FIRST + 2, T0 + 250), change(3), Beat(FIRST + 3, T0 + 500)]
    await appender.append("s", items)
    await appender.append("s", items)
    await appender.append("s", [Beat(FIRST + 3, T0 + 400), change(2)])
    assert await stream(appender) == ids(*items)


async def test_a_gap_is_filled_from_the_owner_first(appender: Appender, outbox: Outbox) -> None:
    await appender.append("s", [Beat(FIRST, T0)])
    outbox.changes = [change(number) for number in range(1, 8)]
    outbox.page = 2
    await appender.append("s", [change(6), Beat(FIRST + 7, T0 + 250)])
    assert await stream(appender) == ids(Beat(FIRST, T0), *outbox.changes, Beat(FIRST + 7, T0 + 250))
    assert (FIRST, None) in outbox.asked


async def test_a_stream_that_is_gone_begins_again_ten_minutes_back(appender: Appender, outbox: Outbox) -> None:
    outbox.changes = [change(4), change(5)]
    await appender.append("s", [change(5)])
    assert await stream(appender) == ids(change(4), change(5))
    assert outbox.asked == [(None, 600_000)]


async def test_a_quiet_owners_stream_begins_with_its_heartbeat(appender: Appender) -> None:
    await appender.append("s", [Beat(FIRST + 40, T0)])
    assert await stream(appender) == ids(Beat(FIRST + 40, T0))


async def test_a_higher_incarnation_begins_at_its_first_number(appender: Appender, outbox: Outbox) -> None:
    await appender.append("s", [Beat(FIRST, T0), change(1), change(2)])
    await appender.append("s", [Beat(2 * FIRST, T0 + 1), change(1, 2)])
    expected = ids(Beat(FIRST, T0), change(1), change(2), Beat(2 * FIRST, T0 + 1), change(1, 2))
    assert await stream(appender) == expected
    await appender.append("s", [change(3), Beat(FIRST + 3, T0 + 2)])
    assert await stream(appender) == expected


async def test_while_the_owner_cannot_be_asked_its_items_wait_for_it(appender: Appender, outbox: Outbox) -> None:
    await appender.append("s", [Beat(FIRST, T0)])
    outbox.changes = [change(1), change(2)]
    outbox.down = True
    assert not await appender.append("s", [change(2)])
    assert await stream(appender) == ids(Beat(FIRST, T0))
    outbox.down = False
    assert await appender.append("s", [Beat(FIRST + 2, T0 + 250)])
    assert await stream(appender) == ids(Beat(FIRST, T0), change(1), change(2), Beat(FIRST + 2, T0 + 250))


async def test_a_change_that_its_owner_does_not_know_is_of_a_lost_timeline(appender: Appender) -> None:
    await appender.append("s", [Beat(FIRST, T0), change(7)])
    assert await stream(appender) == ids(Beat(FIRST, T0))


async def test_two_workers_at_once_write_one_feed(any_redis: str, appender: Appender, outbox: Outbox) -> None:
    await appender.append("s", [Beat(FIRST, T0)])
    outbox.changes = [change(number) for number in range(1, 120)]
    other = Appender(parse(any_redis), outbox.fetch)
    rnd = random.Random(7)

    async def deliver(worker: Appender) -> None:
        messages = sorted(outbox.changes, key=lambda c: c.seq + rnd.uniform(0, 6))
        for some in range(0, len(messages), 5):
            await worker.append("s", messages[some : some + 5])

    await asyncio.gather(deliver(appender), deliver(other))
    assert await stream(appender) == ids(Beat(FIRST, T0), *outbox.changes)
    await other.close()


async def test_the_stream_is_cut_at_the_heartbeat_of_ten_minutes_ago(appender: Appender) -> None:
    beats = [Beat(FIRST, T0 + minute * 60_000) for minute in range(14)]
    for beat in beats:
        await appender.append("s", [beat])
    assert await stream(appender) == ids(*beats[3:])
    assert await appender._redis.pttl(stream_of("s")) > 0


async def test_appending_waits_while_redis_is_away(own_valkey, outbox: Outbox) -> None:
    appender = Appender(parse(own_valkey.url), outbox.fetch)
    await appender.append("s", [Beat(FIRST, T0)])
    own_valkey.kill()
    outbox.changes = [change(1)]
    waiting = asyncio.create_task(appender.append("s", [change(1)]))
    await eventually(lambda: appender.waits > 0)
    own_valkey.start()
    assert await waiting
    assert await stream(appender) == ids(change(1))
    await appender.close()


async def test_the_tail_hears_everything_and_reads_on_after_its_connection_is_cut(
    any_redis: str, appender: Appender
) -> None:
    clock = Clock(T0 / 1000)
    known = Knowledge(["s", "t"], clock=clock)
    tail = asyncio.create_task(Tail(parse(any_redis), known, quiet_seconds=30).run())
    await appender.append("s", [Beat(FIRST, T0), change(1)])
    await eventually(lambda: known.services["s"].position == FIRST + 1)
    client = patient_client(parse(any_redis), read_timeout=60.0)
    for number in itertools.chain(range(2, 40)):
        if number % 10 == 0:
            await cut(client, any_redis)
        await appender.append("s", [change(number), Beat(FIRST + number, T0 + number)])
    await appender.append("t", [Beat(FIRST, T0)])
    await eventually(lambda: known.services["s"].position == FIRST + 39 and known.services["t"].as_of == T0)
    heard = known.services["s"]
    assert heard.since == FIRST
    assert heard.latest == {f"e{number}": number for number in range(1, 40)}
    assert heard.as_of == T0 + 39
    tail.cancel()
    await asyncio.gather(tail, return_exceptions=True)
    await client.aclose()


async def cut(client, url: str) -> None:
    """Ends every connection of the feed's readers, on every node."""
    command = ("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    if parse(url).cluster:
        for node in client.get_primaries():
            await node.execute_command(*command)
    else:
        await client.execute_command(*command)


async def test_a_stream_lost_in_between_shows_as_a_hole(any_redis: str, appender: Appender, outbox: Outbox) -> None:
    known = Knowledge(["s"], clock=Clock(T0 / 1000))
    tail = asyncio.create_task(Tail(parse(any_redis), known).run())
    await appender.append("s", [Beat(FIRST, T0), change(1)])
    await eventually(lambda: known.services["s"].position == FIRST + 1)
    await appender._redis.delete(stream_of("s"))
    await appender.append("s", [Beat(FIRST + 4, T0 + 1)])
    await eventually(lambda: known.services["s"].position == FIRST + 4)
    assert known.services["s"].since == FIRST + 4
    tail.cancel()
    await asyncio.gather(tail, return_exceptions=True)

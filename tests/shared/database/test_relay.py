"""What was committed is published once or more, in order, under dense numbers, whoever dies in between."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from cloudphone_shared.bus.port import BusRefused, BusUnavailable
from cloudphone_shared.database import Database, History, announce, raise_incarnation, upgrade
from cloudphone_shared.database.relay import TURN_SECONDS, Relay
from cloudphone_shared.events import Envelope, Heartbeat
from tests.conditions import eventually
from tests.servers import Postgres
from tests.shared.database.shop import ThingChanged

pytestmark = pytest.mark.anyio

FIRST = 10**12 + 1


class Recorder:
    """Takes all that is published, unless it is away or asked to refuse a text."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.arrived: list[float] = []
        self.away = False
        self.refuses = ""

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        for place, envelope in enumerate(envelopes):
            if self.away:
                raise BusUnavailable("away", confirmed=place)
            if self.refuses and self.refuses.encode() in bytes(envelope.data):
                raise BusRefused("not this one", confirmed=place)
            self.taken.append(envelope)
            self.arrived.append(time.monotonic())

    @property
    def repeated(self) -> list[Envelope]:
        """All changes: what a relay published and could not mark, because it was held up for long, comes again."""
        return [envelope for envelope in self.taken if envelope.type != "shop.heartbeat"]

    @property
    def changes(self) -> list[Envelope]:
        """As they came first."""
        first: dict[UUID, Envelope] = {}
        for envelope in self.repeated:
            first.setdefault(envelope.event_id, envelope)
        return list(first.values())

    @property
    def heartbeats(self) -> list[Envelope]:
        return [envelope for envelope in self.taken if envelope.type == "shop.heartbeat"]

    @property
    def texts(self) -> list[str]:
        return [msgspec.json.decode(bytes(change.data)).get("text", "") for change in self.changes]


@asynccontextmanager
async def relaying(
    database: Database, bus: Recorder, *, active: bool = True, heartbeat_seconds: float = 0.25
) -> AsyncIterator[Relay]:
    relay = Relay(database, bus, service="shop", heartbeat_seconds=heartbeat_seconds)
    task = asyncio.create_task(relay.run())
    try:
        if active:
            await eventually(lambda: relay.active)
        yield relay
    finally:
        task.cancel()
        await asyncio.wait([task])


async def change(database: Database, name: str, *entities: str) -> None:
    async with database.writing() as session:
        await announce(session, ThingChanged(thing_id="1", text=name), *(entities or ("thing:1",)))


async def all_marked(database: Database) -> bool:
    """Whether all is known to be published: what is not is given another number when the incarnation is raised."""
    async with database.reading() as session:
        left = text("SELECT count(*) FROM shop.outbox WHERE published_at IS NULL")
        return (await session.execute(left)).scalar_one() == 0


def dense(changes: Sequence[Envelope]) -> bool:
    """Numbers 1, 2, 3 … in order, repeats allowed, and one number for one event."""
    numbers = [envelope.seq or 0 for envelope in changes]
    events = {(envelope.seq, envelope.event_id) for envelope in changes}
    first_seen = list(dict.fromkeys(numbers))
    return first_seen == list(range(FIRST, FIRST + len(first_seen))) and len(events) == len(first_seen)


async def test_changes_are_published_in_order_with_dense_numbers(database: Database) -> None:
    bus = Recorder()
    for n in range(3):
        await change(database, f"before {n}", "thing:1", "things")
    async with relaying(database, bus):
        await change(database, "after", "thing:1")
        await eventually(lambda: len(bus.changes) == 4)
    assert bus.texts == ["before 0", "before 1", "before 2", "after"]
    assert [envelope.seq for envelope in bus.changes] == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    first = bus.changes[0]
    assert (first.source, first.type, first.version) == ("shop", "shop.thing.changed", 1)
    assert first.entities == {"thing:1": FIRST, "things": FIRST}


async def test_a_batch_larger_than_one_turn_keeps_its_order(database: Database) -> None:
    bus = Recorder()
    async with database.writing() as session:
        for n in range(450):
            await announce(session, ThingChanged(text=str(n)), "thing:1")
    async with relaying(database, bus):
        await eventually(lambda: len(bus.changes) == 450 and bus.heartbeats)
    assert bus.texts == [str(n) for n in range(450)]
    assert bus.taken[:450] == bus.changes, "a heartbeat went out before all was published"
    assert bus.heartbeats[0].seq == FIRST + 449


async def test_a_commit_is_published_within_milliseconds(database: Database) -> None:
    bus = Recorder()
    delays: list[float] = []
    async with relaying(database, bus, heartbeat_seconds=60):  # which is also how often it looks without being woken
        for n in range(20):
            await change(database, str(n))
            committed = time.monotonic()
            await eventually(lambda n=n: len(bus.changes) == n + 1, every=0.001)
            delays.append(bus.arrived[bus.taken.index(bus.changes[n])] - committed)
    assert statistics.median(delays) < 2, delays


async def test_heartbeats_go_on_while_nothing_changes(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        await eventually(lambda: len(bus.heartbeats) >= 4)
    times = [msgspec.json.decode(bytes(beat.data), type=Heartbeat).t for beat in bus.heartbeats]
    assert {beat.seq for beat in bus.heartbeats} == {FIRST - 1}
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert 200 <= min(gaps) <= 1000, gaps


async def test_a_row_that_commits_late_gets_the_next_number(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        async with database.writing() as slow:
            await announce(slow, ThingChanged(text="written first"), "thing:1")
            await change(database, "committed first", "thing:2")
            await eventually(lambda: bus.changes)
        await eventually(lambda: len(bus.changes) == 2)
    assert bus.texts == ["committed first", "written first"]
    assert dense(bus.repeated)


async def test_another_relay_takes_over_when_the_active_one_s_connection_dies(database: Database) -> None:
    bus = Recorder()
    written = 0

    async def the_active_one_s_is_ended() -> bool:
        """And gone when this returns."""
        async with database.writing() as session:
            ended = await session.execute(
                text(
                    "SELECT pg_terminate_backend(l.pid, 10000) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                    " WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()"
                    " AND a.application_name = 'cloudphone shop relay'"
                )
            )
            return ended.all() == [(True,)]

    async with relaying(database, bus) as one, relaying(database, bus, active=False) as two:
        for _ in range(3):
            for _ in range(10):
                await change(database, str(written))
                written += 1
            await eventually(the_active_one_s_is_ended)
            died = time.monotonic()
            await eventually(lambda died=died: bus.arrived[-1] > died, within=TURN_SECONDS - 5)
        await eventually(lambda: len(bus.texts) == written)
        await eventually(lambda: one.active != two.active)
    assert dense(bus.repeated)
    assert bus.texts == [str(n) for n in range(written)]


async def test_a_relay_that_is_cancelled_leaves_the_lead_at_once(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus, active=False) as waiting:
        first = Relay(database, bus, service="shop")
        await eventually(lambda: waiting.active)
        task = asyncio.create_task(first.run())
        assert not first.active
    await eventually(lambda: first.active, within=TURN_SECONDS - 5)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()
    async with relaying(database, bus):
        pass


@pytest.mark.parametrize("steps", range(5))
async def test_a_relay_that_is_woken_and_cancelled_together_stops(database: Database, steps: int) -> None:
    bus = Recorder()
    relay = Relay(database, bus, service="shop", heartbeat_seconds=60)
    task = asyncio.create_task(relay.run())
    await eventually(lambda: bus.heartbeats)
    relay._rouse()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


async def test_an_outage_of_the_broker_is_waited_out_under_the_same_numbers(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        await change(database, "before")
        await eventually(lambda: bus.changes)
        await eventually(lambda: all_marked(database))
        bus.away = True
        quiet_from = len(bus.taken)
        for n in range(5):
            await change(database, f"meanwhile {n}")
        async with database.reading() as session:
            published = text("SELECT count(*) FROM shop.outbox WHERE published_at IS NOT NULL")
            assert (await session.execute(published)).scalar_one() == 1
        assert len(bus.taken) == quiet_from
        bus.away = False
        await eventually(lambda: len(bus.changes) >= 6)
    assert dense(bus.repeated)
    assert bus.texts == ["before", *(f"meanwhile {n}" for n in range(5))]


def held() -> float | None:
    return REGISTRY.get_sample_value("cloudphone_outbox_held", {"service": "shop"})


async def test_a_row_that_the_broker_refuses_holds_the_line_and_raises_the_alarm(database: Database) -> None:
    bus = Recorder()
    bus.refuses = "bad"
    async with relaying(database, bus):
        async with database.writing() as session:
            for name in ("good", "bad", "next"):
                await announce(session, ThingChanged(text=name), "thing:1")

        async def attempts() -> int:
            async with database.reading() as session:
                return (await session.execute(text("SELECT max(attempts) FROM shop.outbox"))).scalar_one()

        async def tried_again() -> bool:
            return await attempts() >= 3

        await eventually(tried_again)
        assert bus.texts == ["good"]
        assert held() == 1
        assert all(beat.seq == FIRST - 1 for beat in bus.heartbeats), "a heartbeat vouched for a row that is held"
        bus.refuses = ""
        await eventually(lambda: bus.texts == ["good", "bad", "next"])
        await eventually(lambda: held() == 0)
    assert dense(bus.repeated)


async def test_a_heartbeat_vouches_only_for_what_is_numbered(database: Database) -> None:
    """Every row committed before T has a number not above the heartbeat's."""
    bus = Recorder()
    committed: dict[str, int] = {}
    chance = random.Random(3)
    enough, deadline = 400, time.monotonic() + 120

    async def writer(number: int) -> None:
        n = 0
        while len(committed) < enough and time.monotonic() < deadline:
            n += 1
            name = f"{number}.{n}"
            async with database.writing() as session:
                await announce(session, ThingChanged(text=name), f"thing:{number}")
                await session.execute(text("SELECT pg_sleep(:s)"), {"s": chance.random() * chance.random() * 0.04})
            async with database.reading() as session:
                now = text("SELECT CAST(ceil(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)")
                committed[name] = (await session.execute(now)).scalar_one()

    async with relaying(database, bus):
        await asyncio.gather(*(writer(number) for number in range(8)))
        await eventually(lambda: len(bus.changes) == len(committed), every=0.05)
    numbers = dict(zip(bus.texts, (change.seq for change in bus.changes), strict=True))
    assert dense(bus.repeated)
    assert len(committed) >= enough
    assert len(bus.heartbeats) > 10
    for beat in bus.heartbeats:
        as_of = msgspec.json.decode(bytes(beat.data), type=Heartbeat).t
        late = [name for name, at in committed.items() if at <= as_of and numbers[name] > (beat.seq or 0)]
        assert not late, (as_of, beat.seq, late)


async def test_a_heartbeat_tells_the_time_before_the_relay_looked(database: Database) -> None:
    """A row committed while the relay's statement is under way is not in its snapshot, nor vouched for."""
    bus = Recorder()
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%fresh%'")

    async def relay_waits() -> bool:
        async with database.reading() as session:
            return (await session.execute(waiting)).scalar_one() == 1

    async with relaying(database, bus):
        async with database.writing() as blocker:
            await blocker.execute(text("SELECT 1 FROM shop.service_state FOR UPDATE"))
            await change(database, "seen")
            await eventually(relay_waits)
            await change(database, "missed")
            async with database.reading() as session:
                committed = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one().timestamp() * 1000
        await eventually(lambda: bus.texts == ["seen", "missed"])
        await eventually(lambda: bus.heartbeats[-1].seq == FIRST + 1)
    for beat in bus.heartbeats:
        as_of = msgspec.json.decode(bytes(beat.data), type=Heartbeat).t
        assert as_of < committed or beat.seq == FIRST + 1


async def test_after_a_restore_the_numbers_begin_anew_above_the_old_ones(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        await change(database, "before")
        await eventually(lambda: all_marked(database))
        await raise_incarnation(database)
        await change(database, "after")
        await eventually(lambda: len(bus.changes) == 3)
    beginning, after = bus.changes[1:]
    assert (beginning.type, beginning.seq, beginning.entities) == ("shop.incarnation.raised", 2 * 10**12 + 1, {})
    assert (after.seq, after.entities) == (2 * 10**12 + 2, {"thing:1": 2 * 10**12 + 1})


async def test_what_was_published_a_day_ago_is_pruned(database: Database) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        await change(database, "old")
        await change(database, "new")
        await eventually(lambda: len(bus.changes) == 2)
    async with database.writing() as session:
        await session.execute(
            text("UPDATE shop.outbox SET published_at = now() - interval '25 hours' WHERE payload ->> 'text' = 'old'")
        )
    async with relaying(database, bus):

        async def left() -> bool:
            async with database.reading() as session:
                rows = await session.execute(text("SELECT payload ->> 'text' FROM shop.outbox"))
                return rows.scalars().all() == ["new"]

        await eventually(left)


async def test_relay_and_sessions_survive_a_restart_of_the_database(own_postgres: Postgres, history: History) -> None:
    url = await own_postgres.database()
    await upgrade(url, history)
    database = Database(url, schema="shop", service="shop")
    bus = Recorder()
    async with relaying(database, bus):
        await change(database, "before")
        await eventually(lambda: bus.changes)
        await asyncio.to_thread(own_postgres.stop)
        assert not await database.ready()
        await asyncio.to_thread(own_postgres.start)
        await change(database, "after")
        await eventually(lambda: len(bus.changes) == 2)
    assert dense(bus.repeated)
    await database.close()

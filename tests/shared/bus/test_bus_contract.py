"""What every broker behind the bus must do. Each sentence is checked on RabbitMQ and on NATS JetStream."""

import asyncio
import contextlib
import time

import msgspec
import pytest

from cloudphone_shared.bus import Bus, BusUnavailable, Delivery, Reject, Retry, connect
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.events import Envelope
from cloudphone_shared.http.context import request_id
from tests.conditions import eventually, in_one_round
from tests.servers import Nats
from tests.shared.bus.worlds import Broker, Taker, envelope, first_times, line

pytestmark = pytest.mark.anyio

SOON = Retry((0.2, 0.3))


async def test_what_is_published_arrives_as_it_was(broker: Broker) -> None:
    bus, taker = broker.bus(), Taker()
    bus.subscribe(broker.queue, ["device.created"], taker)
    sent = msgspec.structs.replace(
        envelope("device.created", 7, name="phone"),
        tenant_id="t",
        correlation_id="c",
        entities={"device:1": 1_000_000_000_002},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    async with broker.started(bus):
        await bus.publish([sent])
        await eventually(lambda: taker.envelopes)
    assert taker.envelopes == [sent]
    assert taker.attempts == [1]


async def test_patterns_choose_by_words(broker: Broker) -> None:
    bus, exact, star, hash_, all_ = broker.bus(), Taker(), Taker(), Taker(), Taker()
    bus.subscribe(f"{broker.queue}.exact", ["device.created", "user.created"], exact)
    bus.subscribe(f"{broker.queue}.star", ["device.*", "*.created"], star)
    bus.subscribe(f"{broker.queue}.hash", ["device.#"], hash_)
    bus.subscribe_batches(f"{broker.queue}.all", ["#"], all_.batch)
    types = ["device.created", "device.status.changed", "user.created", "user.deleted", "device.deleted"]
    async with broker.started(bus):
        await bus.publish([envelope(type_) for type_ in types])
        await eventually(lambda: (len(all_.types), len(hash_.types), len(star.types), len(exact.types)) == (5, 3, 3, 2))
    assert sorted(exact.types) == ["device.created", "user.created"]
    assert sorted(star.types) == ["device.created", "device.deleted", "user.created"]
    assert sorted(hash_.types) == ["device.created", "device.deleted", "device.status.changed"]
    assert all_.types == types


async def test_events_that_nobody_wants_are_no_error(broker: Broker) -> None:
    bus = broker.bus()
    async with broker.started(bus):
        await bus.publish(line(1, 3))


async def test_an_ordered_queue_keeps_the_order_of_publishing(broker: Broker) -> None:
    bus, single, batches = broker.bus(), Taker(), Taker()
    bus.subscribe(f"{broker.queue}.single", ["#"], single, ordered=True)
    bus.subscribe_batches(f"{broker.queue}.batches", ["#"], batches.batch, limit=50)
    async with broker.started(bus):
        for first in range(1, 501, 100):
            await bus.publish(line(first, first + 99))
        await eventually(lambda: len(single.seqs) >= 500 and len(batches.seqs) >= 500)
    assert single.seqs == list(range(1, 501))
    assert batches.seqs == list(range(1, 501))
    assert 1 < max(batches.batches) <= 50


async def test_a_failing_ordered_handler_gets_the_same_again_until_it_succeeds(broker: Broker) -> None:
    bus, taken, failures = broker.bus(), Taker(), iter([ValueError("no"), Unavailable("redis", "away"), Reject("no")])

    async def handler(envelopes: list[Envelope]) -> None:
        for error in failures:
            raise error
        await taken.batch(envelopes)

    bus.subscribe_batches(broker.queue, ["#"], handler)
    async with broker.started(bus):
        await bus.publish(line(1, 20))
        await eventually(lambda: len(taken.seqs) >= 20)
        assert await bus.list_dead() == []
    assert taken.seqs == list(range(1, 21))


async def test_a_failed_message_comes_again_after_its_delay_and_is_counted(broker: Broker) -> None:
    bus, times, attempts = broker.bus(), list[float](), list[int]()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        times.append(time.monotonic())
        attempts.append(delivery.attempt)
        if delivery.attempt < 3:
            raise ValueError("not yet")

    bus.subscribe(broker.queue, ["#"], handler, retry=Retry((0.3, 0.6)))
    async with broker.started(bus):
        await bus.publish(line(1, 1))
        await eventually(lambda: len(times) == 3)
        assert await bus.list_dead() == []
    assert attempts == [1, 2, 3]
    assert times[1] - times[0] >= 0.3
    assert times[2] - times[1] >= 0.6


async def test_other_messages_pass_one_that_waits_for_its_next_attempt(broker: Broker) -> None:
    bus, taken = broker.bus(), list[int | None]()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        if envelope.seq == 1 and delivery.attempt == 1:
            raise ValueError("not yet")
        taken.append(envelope.seq)

    async def the_failed_one_is_the_last() -> bool:
        taken.clear()
        await bus.publish(line(1, 10))
        await eventually(lambda: len(taken) == 10)
        return taken[-1] == 1

    bus.subscribe(broker.queue, ["#"], handler, retry=Retry((1.0,)), concurrency=1)
    async with broker.started(bus):
        assert await in_one_round(the_failed_one_is_the_last)


async def test_a_message_that_fails_every_time_is_a_dead_letter_and_can_be_replayed(broker: Broker) -> None:
    bus, taken, works = broker.bus(), Taker(), asyncio.Event()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        if not works.is_set() and envelope.seq != 3:
            raise ValueError(f"cannot take in {envelope.seq}\nat all")
        await taken(envelope, delivery)

    bus.subscribe(broker.queue, ["#"], handler, retry=SOON)
    async with broker.started(bus):
        await bus.publish(line(1, 3))
        await eventually(lambda: _dead(bus, 2))
        first, second = await bus.list_dead(broker.queue)
        assert sorted(letter.envelope.seq or 0 for letter in (first, second) if letter.envelope) == [1, 2]
        assert "cannot take in" in first.reason
        assert (first.queue, first.attempts) == (broker.queue, 3)
        for _ in range(5):
            assert await bus.list_dead(limit=1) == [first]
            assert await bus.list_dead() == [first, second]
        assert (first.since, first.id) < (second.since, second.id)
        assert taken.seqs == [3]

        works.set()
        assert await bus.replay(broker.queue, [second.id]) == 1
        await eventually(lambda: len(taken.seqs) == 2)
        assert await bus.list_dead() == [first]
        assert await bus.replay(broker.queue) == 1
        await eventually(lambda: len(taken.seqs) == 3)
        assert await bus.list_dead() == []
        assert await bus.replay(broker.queue) == 0
    assert sorted(taken.seqs) == [1, 2, 3]  # pyright: ignore[reportArgumentType]
    assert taken.attempts == [1, 1, 1]


async def _dead(bus: object, count: int) -> bool:
    return len(await bus.list_dead()) == count  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def test_a_rejected_message_is_a_dead_letter_at_once(broker: Broker) -> None:
    bus, runs = broker.bus(), list[int]()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        runs.append(delivery.attempt)
        raise Reject("there is no such device")

    bus.subscribe(broker.queue, ["#"], handler)
    async with broker.started(bus):
        await bus.publish(line(1, 1))
        await eventually(lambda: _dead(bus, 1))
        assert (await bus.list_dead())[0].reason == "rejected: there is no such device"
    assert runs == [1]


async def test_a_replay_reaches_only_the_queue_it_is_for(broker: Broker) -> None:
    bus, other, refusals = broker.bus(), Taker(), list[int]()

    async def refuse(envelope: Envelope, delivery: Delivery) -> None:
        refusals.append(1)
        raise Reject("no")

    bus.subscribe(f"{broker.queue}.a", ["#"], refuse)
    bus.subscribe(f"{broker.queue}.b", ["#"], other)
    async with broker.started(bus):
        await bus.publish(line(1, 1))
        await eventually(lambda: _dead(bus, 1))
        await bus.replay(f"{broker.queue}.a")
        await eventually(lambda: len(refusals) == 2)
        await eventually(lambda: _dead(bus, 1))
    assert other.seqs == [1]


async def test_unavailable_pauses_the_queue_without_counting(broker: Broker) -> None:
    bus, taken, away = broker.bus(), Taker(), [3]

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        if away[0]:
            away[0] -= 1
            raise Unavailable("billing", "away")
        await taken(envelope, delivery)

    bus.subscribe(broker.queue, ["#"], handler, retry=Retry(()))
    async with broker.started(bus):
        await bus.publish(line(1, 1))
        await eventually(lambda: taken.seqs)
        assert await bus.list_dead() == []
    assert taken.attempts == [1]


async def test_a_handler_longer_than_the_brokers_patience_runs_once(nats: Nats) -> None:
    """RabbitMQ's patience is half an hour."""
    broker = Broker(nats).hasty()
    bus, runs, done = broker.bus(), list[int](), asyncio.Event()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        runs.append(delivery.attempt)
        await asyncio.sleep(2.5 * broker.ack_wait)
        done.set()

    async def one_runs_once() -> bool:
        runs.clear()
        done.clear()
        await bus.publish(line(1, 1))
        await asyncio.wait_for(done.wait(), 60)
        return runs == [1]

    bus.subscribe(broker.queue, ["#"], handler)
    async with broker.started(bus):
        assert await in_one_round(one_runs_once)


async def test_a_stopping_bus_lets_handlers_end_and_leaves_the_rest_to_others(broker: Broker) -> None:
    leaving, staying, begun, ended = broker.bus(), broker.bus(), asyncio.Event(), list[int | None]()

    async def slow(envelope: Envelope, delivery: Delivery) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        ended.append(envelope.seq)

    async def quick(envelope: Envelope, delivery: Delivery) -> None:
        ended.append(envelope.seq)

    leaving.subscribe(broker.queue, ["#"], slow, concurrency=2)
    await leaving.start()
    await leaving.publish(line(1, 20))
    await begun.wait()
    await leaving.stop()
    assert ended
    staying.subscribe(broker.queue, ["#"], quick)
    async with broker.started(staying):
        await eventually(lambda: len(ended) == 20)
    assert sorted(ended) == list(range(1, 21))  # pyright: ignore[reportArgumentType]


async def test_processes_with_one_queue_share_its_messages(broker: Broker) -> None:
    publisher, last = broker.bus(), 0
    async with broker.started(publisher), broker.process("plain") as one, broker.process("plain") as other:
        await eventually(lambda: "ready" in one.said and "ready" in other.said)

        async def each_has_its_share() -> bool:
            nonlocal last
            fresh = set(range(last + 1, last + 201))
            last += 200
            await publisher.publish(line(last - 199, last))
            await eventually(lambda: fresh <= {*one.seqs, *other.seqs})
            shares = [[seq for seq in each.seqs if seq in fresh] for each in (one, other)]
            return min(map(len, shares)) > 20 and sum(map(len, shares)) == 200

        assert await in_one_round(each_has_its_share)


@pytest.mark.parametrize("kind", ["plain", "ordered", "batches"])
async def test_what_a_killed_process_had_not_finished_goes_to_another(broker: Broker, kind: str) -> None:
    publisher = broker.hasty().bus()
    async with broker.started(publisher), broker.process(f"{kind}-stuck") as doomed:
        await eventually(lambda: "ready" in doomed.said)
        await publisher.publish(line(1, 100))
        await eventually(lambda: doomed.seqs)
        async with broker.process(kind) as other:
            await eventually(lambda: "ready" in other.said)
            doomed.process.kill()
            await publisher.publish(line(101, 150))
            await eventually(lambda: len(set(other.seqs)) == 150)
    assert set(other.seqs) == set(range(1, 151))
    if kind != "plain":
        assert first_times(other.seqs) == list(range(1, 151))


async def test_only_one_process_reads_an_ordered_queue(broker: Broker) -> None:
    broker.ack_wait = broker.lease = 2.5
    publisher, last = broker.bus(), 0
    async with broker.started(publisher), broker.process("ordered") as one, broker.process("ordered") as other:
        await eventually(lambda: "ready" in one.said and "ready" in other.said)

        async def one_reads_alone() -> bool:
            nonlocal last
            before, last = last, last + 50
            await publisher.publish(line(before + 1, last))
            await eventually(lambda: last in one.seqs or last in other.seqs)
            fresh = [[seq for seq in each.seqs if seq > before] for each in (one, other)]
            return sorted(fresh) == [[], list(range(before + 1, last + 1))]

        assert await in_one_round(one_reads_alone)
        reader, idle = (one, other) if last in one.seqs else (other, one)
        reader.process.kill()
        await publisher.publish(line(last + 1, last + 50))
        await eventually(lambda: last + 50 in idle.seqs)
    fresh = [seq for seq in idle.seqs if seq > last]
    assert first_times(fresh) == list(range(last + 1, last + 51))


async def test_a_frozen_reader_of_an_ordered_queue_moves_nothing_back(broker: Broker) -> None:
    """The frozen one wakes up after another took over: order stays, whatever is repeated."""
    if broker.is_rabbit:
        pytest.skip("RabbitMQ notices a frozen process by AMQP heartbeats only, after 20 s")
    publisher = broker.hasty().bus()
    async with broker.started(publisher), broker.process("batches") as frozen:
        await eventually(lambda: "ready" in frozen.said)
        await publisher.publish(line(1, 10))
        await eventually(lambda: 10 in frozen.seqs)
        frozen.process.send_signal(19)
        async with broker.process("batches") as other:
            await eventually(lambda: "ready" in other.said)
            await publisher.publish(line(11, 20))
            await eventually(lambda: 20 in other.seqs)
            frozen.process.send_signal(18)
            await publisher.publish(line(21, 200))
            await eventually(lambda: set(range(21, 201)) <= {*frozen.seqs, *other.seqs})
    taken = [first_times([seq for seq in each.seqs if seq > 20]) for each in (frozen, other)]
    assert taken == [sorted(each) for each in taken]  # pyright: ignore[reportArgumentType]


async def test_what_was_confirmed_survives_the_kill_of_the_broker(own_broker: Broker) -> None:
    bus, plain, ordered, confirmed = own_broker.bus(), Taker(), Taker(), list[int]()
    bus.subscribe(f"{own_broker.queue}.plain", ["#"], plain)
    bus.subscribe_batches(f"{own_broker.queue}.ordered", ["#"], ordered.batch)

    async def publish_all() -> None:
        """Like the relay: repeats what was not confirmed."""
        rest = line(1, 400)
        while rest:
            try:
                await bus.publish(rest[:20])
                done = 20
            except BusUnavailable as away:
                done = away.confirmed
                await asyncio.sleep(0.1)
            confirmed.extend(envelope.seq or 0 for envelope in rest[:done])
            rest = rest[done:]

    async with own_broker.started(bus):
        await eventually(own_broker.can_be_killed)
        publishing = asyncio.create_task(publish_all())
        await eventually(lambda: len(confirmed) >= 100)
        own_broker.server.kill()
        await eventually(lambda: _unhealthy(bus))
        with pytest.raises(BusUnavailable):
            await bus.publish([envelope("user.created", 0)])
        await asyncio.to_thread(own_broker.server.start)
        await asyncio.wait_for(publishing, 120)
        wanted = set(range(1, 401))
        await eventually(lambda: wanted <= set(plain.seqs))
        await eventually(lambda: wanted <= set(ordered.seqs))
        await eventually(bus.healthy)
    assert confirmed == list(range(1, 401))
    fresh = [seq for seq in first_times(ordered.seqs) if seq]
    assert fresh == sorted(fresh)


async def _unhealthy(bus: object) -> bool:
    return not await bus.healthy()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


async def test_a_broker_that_comes_back_empty_is_furnished_again(own_broker: Broker) -> None:
    bus, plain, ordered = own_broker.bus(), Taker(), Taker()
    bus.subscribe(f"{own_broker.queue}.plain", ["#"], plain)
    bus.subscribe_batches(f"{own_broker.queue}.ordered", ["#"], ordered.batch)
    async with own_broker.started(bus):
        await _published(bus, line(1, 30))
        await eventually(lambda: len(set(plain.seqs)) == 30 and len(set(ordered.seqs)) == 30)
        own_broker.server.wipe()
        await asyncio.to_thread(own_broker.server.start)

        async def arrives() -> bool:
            with contextlib.suppress(BusUnavailable):
                await bus.publish([envelope("device.created", 99)])
            return 99 in plain.seqs and 99 in ordered.seqs

        await eventually(arrives, every=0.2)


async def test_a_silent_broker_is_unavailable_within_the_patience(own_broker: Broker) -> None:
    own_broker.patience = 2.0
    bus = own_broker.bus()
    async with own_broker.started(bus):
        await _published(bus, line(1, 1))
        own_broker.server.pause()
        began = time.monotonic()
        try:
            with pytest.raises(BusUnavailable):
                await bus.publish(line(2, 50))
            took = time.monotonic() - began
        finally:
            own_broker.server.resume()
        await _published(bus, line(51, 51))
    assert took < 15, "it was the connection that was given up, as a silent one is after 20 s"


async def _published(bus: Bus, envelopes: list[Envelope]) -> None:
    """However long it takes: a broker that has just started may be slower than a bus is patient."""

    async def confirmed() -> bool:
        with contextlib.suppress(BusUnavailable):
            await bus.publish(envelopes)
            return True
        return False

    await eventually(confirmed, every=0.1)


async def test_a_bus_waits_for_a_broker_that_is_not_up_yet(own_broker: Broker) -> None:
    own_broker.server.kill()
    bus, taker = own_broker.bus(), Taker()
    bus.subscribe(own_broker.queue, ["#"], taker)
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0)
    assert not await bus.healthy()
    with pytest.raises(BusUnavailable):
        await bus.publish(line(1, 1))
    await asyncio.to_thread(own_broker.server.start)
    await asyncio.wait_for(starting, 60)
    await eventually(bus.healthy)
    await _published(bus, line(1, 1))
    await eventually(lambda: set(taker.seqs) == {1})
    await bus.stop()


async def test_heartbeats_travel_in_line_and_do_not_pile_up(broker: Broker) -> None:
    bus, taker = broker.bus(), Taker()
    bus.subscribe_batches(broker.queue, ["#"], taker.batch)
    async with broker.started(bus):
        await bus.publish([envelope("device.created", 1), envelope("device.heartbeat", 1, t=5), *line(2, 2)])
        await eventually(lambda: len(taker.types) == 3)
    assert taker.types == ["device.created", "device.heartbeat", "device.created"]


async def test_a_queue_has_one_handler(broker: Broker) -> None:
    bus = broker.bus()
    bus.subscribe(broker.queue, ["device.started"], Taker())
    with pytest.raises(ValueError, match="dispatch on the type"):
        bus.subscribe(broker.queue, ["device.stopped"], Taker())


async def test_the_scheme_chooses_the_broker() -> None:
    with pytest.raises(ValueError, match="amqp://"):
        connect("kafka://127.0.0.1")
    assert type(connect("amqp://h")).__name__ == "RabbitBus"
    assert type(connect("nats://h")).__name__ == "NatsBus"


async def test_handlers_run_in_the_trace_and_under_the_correlation_id_of_their_event(broker: Broker) -> None:
    bus, seen = broker.bus(), list[str]()

    async def handler(envelope: Envelope, delivery: Delivery) -> None:
        seen.append(request_id.get())

    bus.subscribe(broker.queue, ["#"], handler)
    async with broker.started(bus):
        await bus.publish([msgspec.structs.replace(envelope(), correlation_id="request-7")])
        await eventually(lambda: seen)
    assert seen == ["request-7"]

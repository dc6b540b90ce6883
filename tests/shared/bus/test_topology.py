"""Traps of the usual RabbitMQ topology, on a real broker, and how this bus stays out of them."""

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from cloudphone_shared.bus import Retry
from cloudphone_shared.bus.patterns import matcher, subjects
from tests.conditions import eventually
from tests.servers import RabbitMQ
from tests.shared.bus.worlds import Broker, Taker, envelope

pytestmark = pytest.mark.anyio

REQUEST, REPLY = "device.allocate.requested", "device.allocate.replied"


async def collect(channel: AbstractChannel, queue: str, into: list[str]) -> None:
    async def on_message(message: AbstractIncomingMessage) -> None:
        into.append(message.routing_key or "")
        await message.ack()

    await (await channel.get_queue(queue)).consume(on_message)


async def test_a_reply_queue_bound_with_a_star_also_gets_the_request(rabbitmq: RabbitMQ) -> None:
    broker = Broker(rabbitmq)
    bus, exact, received = broker.bus(), Taker(), list[str]()
    bus.subscribe(f"{broker.queue}.exact", [REPLY], exact)
    async with broker.started(bus), await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"{broker.queue}.star", auto_delete=True)
        await queue.bind(broker.name, "device.allocate.*")
        await collect(channel, queue.name, received)
        await bus.publish([envelope(REQUEST), envelope(REPLY)])
        await eventually(lambda: len(received) == 2 and len(exact.types) == 1)
    assert received == [REQUEST, REPLY]
    assert exact.types == [REPLY]


async def test_two_handlers_of_one_queue_get_messages_whatever_their_key(rabbitmq: RabbitMQ) -> None:
    broker = Broker(rabbitmq)
    bus, starts, stops = broker.bus(), list[str](), list[str]()
    async with broker.started(bus), await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(broker.queue, auto_delete=True)
        await queue.bind(broker.name, "device.started")
        await queue.bind(broker.name, "device.stopped")
        await collect(channel, queue.name, starts)
        await collect(channel, queue.name, stops)
        await bus.publish([envelope(f"device.{what}") for what in ("started", "started", "stopped", "stopped") * 5])
        await eventually(lambda: len(starts) + len(stops) == 20)
    assert set(starts) == set(stops) == {"device.started", "device.stopped"}


async def test_a_type_that_only_another_release_knows_is_not_lost(rabbitmq: RabbitMQ) -> None:
    broker = Broker(rabbitmq)
    old, new, known, both = broker.bus(), broker.bus(), Taker(), Taker()
    old.subscribe(broker.queue, ["device.started"], known, retry=Retry((0.2,)))
    new.subscribe(broker.queue, ["device.started", "device.stopped"], both, retry=Retry((0.2,)))
    async with broker.started(old, new):
        await old.publish([envelope("device.stopped") for _ in range(4)])
        await eventually(lambda: _settled(old, both, 4))
    assert known.types == []


async def _settled(bus: object, taker: Taker, count: int) -> bool:
    return len(taker.types) + len(await bus.list_dead()) == count  # pyright: ignore


async def test_an_undecodable_message_is_a_dead_letter_at_once(rabbitmq: RabbitMQ) -> None:
    broker = Broker(rabbitmq)
    bus, plain, ordered = broker.bus(), Taker(), Taker()
    bus.subscribe(f"{broker.queue}.plain", ["#"], plain)
    bus.subscribe_batches(f"{broker.queue}.ordered", ["#"], ordered.batch)
    async with broker.started(bus), await aio_pika.connect(rabbitmq.url) as connection:
        exchange = await (await connection.channel()).get_exchange(broker.name)
        await exchange.publish(aio_pika.Message(b"\xff{"), "device.created")
        await bus.publish([envelope(seq=1)])
        await eventually(lambda: plain.seqs == [1] and ordered.seqs == [1])
        await eventually(lambda: _parked(bus, 2))
        letters = await bus.list_dead()
    assert {letter.queue for letter in letters} == {f"{broker.queue}.plain", f"{broker.queue}.ordered"}
    assert all(letter.envelope is None and letter.body == b"\xff{" for letter in letters)


async def _parked(bus: object, count: int) -> bool:
    return len(await bus.list_dead()) == count  # pyright: ignore


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("#", ["a", "a.b.c"], []),
        ("device.*", ["device.created"], ["device", "device.status.changed"]),
        ("device.#", ["device", "device.created", "device.status.changed"], ["devices.created"]),
        ("*.created", ["user.created"], ["created", "a.b.created"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "a.b", "z"]),
    ],
)
async def test_patterns_mean_on_nats_what_they_mean_on_rabbitmq(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = matcher([pattern])
    assert all(map(matches, yes))
    assert not any(map(matches, no))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["device.created", "user.*"], ["p.device.created", "p.user.*"]),
        (["device.#"], ["p.device", "p.device.>"]),
        (["device.#", "device.created"], ["p.device", "p.device.>"]),
        (["#", "user.created"], ["p.>"]),
        (["device.*", "*.created"], ["p.>"]),
        (["a.#.z"], ["p.a", "p.a.>"]),
    ],
)
async def test_nats_filters_cover_the_patterns_and_never_overlap(patterns: list[str], expected: list[str]) -> None:
    assert subjects("p", patterns) == expected

"""RabbitMQ: a topic exchange, a quorum queue per subscription, TTL queues for what is tried again later.

A queue's arguments cannot be changed, so a queue whose arguments differ from the plain ones says so in its name.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import DeliveryError
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitMessage, RabbitQueue
from pamqp.commands import Basic

from ..events.envelope import Envelope
from .port import LADDER, Around, BatchHandler, BusRefused, BusUnavailable, DeadLetter, Handler, Retry, by_age
from .rabbit_dead import DeadLetters
from .rabbit_layout import Layout
from .rabbit_ordered import ACK_SECONDS, OrderedConsumer
from .subscription import HEARTBEAT_LIFE, Stopping, Subscription, Subscriptions, Verdict, encode, is_heartbeat, traced

if TYPE_CHECKING:
    from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
    from aiormq.channel import Channel as UnderlyingChannel

log = structlog.get_logger()

RECONNECT_SECONDS = 0.5
RESTORED_WITHIN_SECONDS = 8
SLICE = 1000
"""Publishes that may be under way at a time."""
HELD_SECONDS = 600.0
"""RabbitMQ closes the channel of a consumer that does not acknowledge for half an hour: a paused message goes round."""
HEARTBEAT_SECONDS = 10
"""AMQP's own: a broker or client that is silent for twice as long is taken for dead."""


async def _as_it_is(message: RabbitMessage) -> RabbitMessage:
    return message


class RabbitBus:
    def __init__(
        self, url: str, *, name: str = "cloudphone.events", around: Around = traced, patience: float = 5.0
    ) -> None:
        """`patience`: seconds that publish waits for confirms."""
        self._url = url if "heartbeat=" in url else f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT_SECONDS}"
        self._layout = Layout(name)
        self._patience = patience
        self._subscriptions = Subscriptions(around)
        self._broker: RabbitBroker | None = None
        self._connection: AbstractRobustConnection | None = None
        self._control: AbstractRobustChannel | None = None
        self._publishing: AbstractRobustChannel | None = None
        self._whole = False  # connected, with all channels, queues and consumers in place
        self._watch: asyncio.Task[None] | None = None
        self._ordered: list[OrderedConsumer] = []
        self._dead = DeadLetters(self._layout, self._channel)

    def subscribe(
        self,
        queue: str,
        patterns: Sequence[str],
        handler: Handler,
        *,
        retry: Retry = LADDER,
        concurrency: int = 8,
        ordered: bool = False,
    ) -> None:
        self._subscriptions.add(queue, patterns, handler, retry, concurrency, ordered)

    def subscribe_batches(
        self, queue: str, patterns: Sequence[str], handler: BatchHandler, *, limit: int = 256
    ) -> None:
        self._subscriptions.add_batches(queue, patterns, handler, limit)

    async def start(self) -> None:
        while True:
            try:
                await self._open()
                return
            except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
                log.warning("bus_not_reached", reason=repr(error))
                await self._close()
                await asyncio.sleep(RECONNECT_SECONDS)

    async def stop(self) -> None:
        self._subscriptions.close()
        await self._close()

    async def healthy(self) -> bool:
        return self._whole and self._connected() and all(consumer.reading for consumer in self._ordered)

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        for start in range(0, len(envelopes), SLICE):
            await self._publish(envelopes[start : start + SLICE], start)

    async def list_dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        with _outages():
            for name in [queue] if queue else self._subscriptions.queues():
                found += await self._dead.list(name, limit)
        return sorted(found, key=by_age)[:limit]

    async def replay(self, queue: str, ids: Collection[str] | None = None) -> int:
        ordered = any(s.queue == queue for s in self._subscriptions.ordered)
        with _outages():
            return await self._dead.replay(queue, self._layout.ordered(queue) if ordered else queue, ids)

    async def _open(self) -> None:
        self._broker = broker = RabbitBroker(
            self._url,
            decoder=_as_it_is,
            apply_types=False,
            logger=None,
            graceful_timeout=10,
            reconnect_interval=RECONNECT_SECONDS,
            on_close=[self._on_close],
            on_reconnected=[self._on_reconnected],
        )
        self._connection = await broker.connect()
        # Queues made on this channel are made again with every connection, so a broker may come back empty.
        self._control = await self._channel()
        await self._layout.declare(self._control, self._subscriptions)
        self._publishing = await self._channel()
        for subscription in self._subscriptions.plain:
            self._consume(broker, subscription)
        await broker.start()
        for subscription in self._subscriptions.ordered:
            consumer = OrderedConsumer(subscription, self._layout, self._send)
            await consumer.start(await self._channel())
            self._ordered.append(consumer)
        self._whole = True
        self._watch = asyncio.create_task(self._break_hung_restorations())

    def _on_close(self, *_: object) -> None:
        self._whole = False

    def _on_reconnected(self, *_: object) -> None:
        self._whole = True

    async def _break_hung_restorations(self) -> None:
        """A broker that has just started may accept a connection and never answer a consume."""
        hung = 0
        while True:
            await asyncio.sleep(1)
            transport = self._connection.transport if self._connection else None
            hung = hung + 1 if not self._whole and transport and not transport.connection.is_closed else 0
            if hung >= RESTORED_WITHIN_SECONDS and transport:
                log.warning("bus_restoration_hung")
                hung = 0
                with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                    async with asyncio.timeout(5):
                        await transport.connection.close()

    async def _close(self) -> None:
        self._whole = False
        if self._watch:
            self._watch.cancel()
        for consumer in self._ordered:
            await consumer.stop()
        self._ordered.clear()
        broker, self._broker = self._broker, None
        if broker:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(15):
                    await broker.stop()
        connection, self._connection, self._publishing = self._connection, None, None
        if connection:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(5):
                    await connection.close()

    def _connected(self) -> bool:
        connection = self._connection
        return connection is not None and not connection.is_closed and connection.connected.is_set()

    async def _channel(self) -> "AbstractRobustChannel":
        if not self._connection:
            raise BusUnavailable("the bus is not started")
        channel = self._connection.channel(publisher_confirms=True)
        async with asyncio.timeout(self._patience):
            await channel.initialize()
        return channel  # pyright: ignore[reportReturnType]

    async def _underlying(self) -> "UnderlyingChannel":
        """The channel as it is now: it fails where the robust one would wait for the next connection and send the rest
        of a batch whose beginning was lost."""
        if not self._publishing or not self._connected():
            raise BusUnavailable("not connected to RabbitMQ")
        return await self._publishing.get_underlay_channel()  # pyright: ignore[reportReturnType]

    async def _publish(self, envelopes: Sequence[Envelope], before: int) -> None:
        outcomes: list[Any] = []
        try:
            async with asyncio.timeout(self._patience):
                channel = await self._underlying()
                publishes = [asyncio.ensure_future(self._announce(channel, envelope)) for envelope in envelopes]
                try:
                    outcomes = await asyncio.gather(*publishes, return_exceptions=True)
                finally:
                    outcomes = outcomes or [p.exception() if _ended(p) else TimeoutError() for p in publishes]
        except TimeoutError:
            raise BusUnavailable("no confirm in time", confirmed=before + _confirmed(outcomes)) from None
        except CONNECTION_EXCEPTIONS as error:
            raise BusUnavailable(repr(error), confirmed=before) from error
        confirmed = _confirmed(outcomes)
        if confirmed < len(outcomes):
            error = outcomes[confirmed]
            failure = BusRefused if isinstance(error, DeliveryError) else BusUnavailable
            raise failure(repr(error), confirmed=before + confirmed) from error

    def _announce(self, channel: "UnderlyingChannel", envelope: Envelope) -> Awaitable[object]:
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            message_id=envelope.event_id.hex,
            message_type=envelope.type,
            expiration=str(HEARTBEAT_LIFE * 1000) if is_heartbeat(envelope) else None,
        )
        return channel.basic_publish(
            encode(envelope),
            exchange=self._layout.exchange,
            routing_key=envelope.type,
            properties=properties,
            wait=False,
        )

    async def _send(self, body: bytes, exchange: str, routing_key: str, headers: dict[str, Any]) -> None:
        """One message to a queue that must exist, confirmed. Raises BusUnavailable and what aio-pika raises."""
        properties = Basic.Properties(
            content_type="application/json", delivery_mode=2, headers={**headers, "x-since": int(time.time() * 1000)}
        )
        channel = await self._underlying()
        confirm = await channel.basic_publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            properties=properties,
            mandatory=True,
            timeout=self._patience,
        )
        if not isinstance(confirm, Basic.Ack):
            raise BusUnavailable(f"{routing_key} is not there: {confirm!r}")

    def _consume(self, broker: RabbitBroker, subscription: Subscription) -> None:
        queue = RabbitQueue(subscription.queue, queue_type=QueueType.QUORUM)
        channel = Channel(prefetch_count=subscription.concurrency)
        register = broker.subscriber(queue, channel=channel, ack_policy=AckPolicy.MANUAL)
        register(self._handler(subscription))

    def _handler(self, subscription: Subscription) -> Callable[[RabbitMessage], Awaitable[None]]:
        async def on_message(message: RabbitMessage) -> None:
            headers = message.raw_message.headers
            attempt = int(headers.get("x-attempt", 1))  # pyright: ignore[reportArgumentType]
            crashes = int(headers.get("x-delivery-count", 0))  # pyright: ignore[reportArgumentType]
            try:
                verdict = await subscription.handle(message.body, attempt, crashes, HELD_SECONDS)
                if verdict.reason:
                    await self._put_aside(subscription.queue, message.body, attempt, verdict)
                async with asyncio.timeout(ACK_SECONDS):
                    await message.ack()  # after the confirm: rather twice than never
            except Stopping:
                return
            except (*CONNECTION_EXCEPTIONS, BusUnavailable, TimeoutError) as error:
                log.warning("message_not_settled", queue=subscription.queue, reason=repr(error))
                with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                    async with asyncio.timeout(ACK_SECONDS):
                        await message.nack(requeue=True)

        return on_message

    async def _put_aside(self, queue: str, body: bytes, attempt: int, verdict: Verdict) -> None:
        exchange = self._layout.dead if verdict.delay is None else self._layout.retry(verdict.delay)
        counts = verdict.counts and verdict.delay is not None
        headers = {"x-attempt": attempt + counts, "x-reason": verdict.reason}
        await self._send(body, exchange, queue, headers)


def _ended(publish: "asyncio.Future[object]") -> bool:
    return publish.done() and not publish.cancelled()


def _confirmed(outcomes: Sequence[object]) -> int:
    """How many from the front the broker has stored."""
    failed = (place for place, outcome in enumerate(outcomes) if isinstance(outcome, BaseException))
    return next(failed, len(outcomes))


@contextlib.contextmanager
def _outages() -> Generator[None]:
    try:
        yield
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise BusUnavailable(repr(error)) from error

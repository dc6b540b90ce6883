"""NATS JetStream: one stream, a durable consumer per subscription, a stream of dead letters.

FastStream pulls and hands over; streams and durables are made and brought up to date here, as it only creates them.
"""

# pyright: reportUnknownMemberType=false
# nats-py's parameters are partly untyped.

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.errors import Error as NatsError

from ..events.envelope import Envelope
from .nats_dead import DeadLetters
from .nats_layout import Layout
from .nats_ordered import OrderedConsumer
from .nats_publisher import Publisher
from .port import LADDER, Around, BatchHandler, BusUnavailable, DeadLetter, Handler, Retry, by_age
from .subscription import Stopping, Subscription, Subscriptions, traced

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

log = structlog.get_logger()

RECONNECT_SECONDS = 0.5
FAILURES = (NatsError, TimeoutError, OSError)


async def _as_it_is(message: NatsMessage) -> NatsMessage:
    return message


class NatsBus:
    def __init__(
        self,
        url: str,
        *,
        name: str = "cloudphone.events",
        around: Around = traced,
        patience: float = 5.0,
        ack_wait: float = 15.0,
        lease: float = 5.0,
    ) -> None:
        """Seconds: `patience` that publish waits for confirms, `ack_wait` until a dead process's messages go to another
        one, `lease` until its ordered queues do."""
        self._url, self._patience, self._lease = url, patience, lease
        self._layout = Layout(name, ack_wait)
        self._subscriptions = Subscriptions(around)
        self._broker: NatsBroker | None = None
        self._client: Client | None = None
        self._control: JetStreamContext | None = None
        self._ordered: list[OrderedConsumer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._dead = DeadLetters(self._layout)
        self._publisher = Publisher(url, self._layout, patience)

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
            except FAILURES as error:
                log.warning("bus_not_reached", reason=repr(error))
                await self._close()
                await asyncio.sleep(RECONNECT_SECONDS)

    async def stop(self) -> None:
        self._stopping = True
        self._subscriptions.close()
        for task in self._tasks:
            task.cancel()
        await self._close()

    async def healthy(self) -> bool:
        connected = self._client is not None and self._client.is_connected
        return connected and all(consumer.reading for consumer in self._ordered)

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        if self._control is None:
            raise BusUnavailable("not connected to NATS")
        await self._publisher.publish(envelopes)

    async def list_dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        with _outages():
            for name in [queue] if queue else self._subscriptions.queues():
                found += [letter async for _, letter in self._dead.waiting(self._jetstream(), name, limit)]
        return sorted(found, key=by_age)[:limit]

    async def replay(self, queue: str, ids: Collection[str] | None = None) -> int:
        with _outages():
            return await self._dead.replay(self._jetstream(), queue, ids)

    async def _open(self) -> None:
        self._broker = broker = NatsBroker(
            self._url,
            decoder=_as_it_is,
            apply_types=False,
            logger=None,
            graceful_timeout=10,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,  # pyright: ignore[reportArgumentType]
            ping_interval=5,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
        )
        self._client = client = await broker.connect()
        self._control = client.jetstream(timeout=self._patience)
        await self._layout.declare(self._control, self._subscriptions)
        for subscription in self._subscriptions.plain:
            self._consume(broker, subscription)
        await broker.start()
        for subscription in self._subscriptions.ordered:
            consumer = OrderedConsumer(subscription, self._layout, client, self._lease)
            consumer.start()
            self._ordered.append(consumer)

    async def _close(self) -> None:
        for consumer in self._ordered:
            await consumer.stop()
        self._ordered.clear()
        self._control = None
        await self._publisher.close()
        broker, self._broker = self._broker, None
        client, self._client = self._client, None
        if broker:
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(15):
                    await broker.stop()
        if client and not client.is_closed:
            with contextlib.suppress(*FAILURES):
                await client.close()

    async def _reconnected(self) -> None:
        for consumer in self._ordered:
            consumer.reconnected()
        self._spawn(self._declare_again())

    async def _declare_again(self) -> None:
        """The broker may have come back empty. JetStream answers a little later than the server."""
        while self._control and await self.healthy():
            try:
                await self._layout.declare(self._control, self._subscriptions)
                return
            except FAILURES as error:
                log.warning("bus_layout_not_restored", reason=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _closed(self) -> None:
        """The client gave up for good, as it does when it is refused: begin from scratch."""
        if self._broker and not self._stopping:
            log.error("bus_connection_given_up")
            self._spawn(self._reopen())

    async def _reopen(self) -> None:
        await self._close()
        await self.start()

    def _spawn(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # pyright: ignore[reportArgumentType]
        task.add_done_callback(self._tasks.discard)  # pyright: ignore[reportArgumentType]

    def _jetstream(self) -> "JetStreamContext":
        # While it reconnects the client would keep what is sent and send it later, after its repetition.
        if self._client is None or self._control is None or not self._client.is_connected:
            raise BusUnavailable("not connected to NATS")
        return self._control

    def _consume(self, broker: NatsBroker, subscription: Subscription) -> None:
        subscription.filtered_coarsely = self._layout.filters_coarsely(subscription.patterns)
        handle = self._handler(subscription)
        for _ in range(subscription.concurrency):  # one message a loop: a slow one holds up no other
            register = broker.subscriber(
                stream=JStream(self._layout.stream, declare=False),
                durable=self._layout.durable(subscription.queue),
                config=self._layout.consumer(subscription),
                pull_sub=PullSub(1, timeout=5.0),
                ack_policy=AckPolicy.MANUAL,
            )
            register(handle)

    def _handler(self, subscription: Subscription) -> Callable[[NatsMessage], Awaitable[None]]:
        async def on_message(message: NatsMessage) -> None:
            delivered = message.raw_message.metadata
            claim = asyncio.create_task(self._keep(message))
            try:
                crashes = delivered.num_delivered - len(subscription.retry.delays) - 1
                verdict = await subscription.handle(message.body, delivered.num_delivered, crashes)
                if verdict.delay is not None:
                    await message.nack(delay=verdict.delay)
                    return
                if verdict.reason:
                    await self._dead.park(self._jetstream(), subscription.queue, message.raw_message, verdict.reason)
                await message.ack()  # after the confirm: rather twice than never
            except Stopping:
                await self._hand_back(message)
            except (*FAILURES, BusUnavailable) as error:
                log.warning("message_not_settled", queue=subscription.queue, reason=repr(error))
            finally:
                claim.cancel()

        return on_message

    async def _keep(self, message: NatsMessage) -> None:
        """A long handler keeps its claim."""
        while True:
            await asyncio.sleep(self._layout.ack_wait / 3)
            with contextlib.suppress(*FAILURES):
                await message.in_progress()

    async def _hand_back(self, message: NatsMessage) -> None:
        with contextlib.suppress(*FAILURES):
            await message.nack()


@contextlib.contextmanager
def _outages() -> Generator[None]:
    try:
        yield
    except FAILURES as error:
        raise BusUnavailable(repr(error)) from error

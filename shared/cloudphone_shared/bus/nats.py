"""NATS JetStream: one stream, a durable consumer per subscription, a stream of dead letters.

FastStream pulls and hands over; streams and durables are made and brought up to date here, as it only creates them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.errors import APIError

from ..events.envelope import Envelope
from .nats_dead import DeadLetters
from .nats_layout import Layout
from .nats_ordered import OrderedConsumer
from .port import LADDER, Around, BatchHandler, BusRefused, BusUnavailable, DeadLetter, Handler, Retry
from .subscription import HEARTBEAT_LIFE, Stopping, Subscription, Subscriptions, encode, is_heartbeat, traced

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

log = structlog.get_logger()

RECONNECT_SECONDS = 0.5
SLICE = 1000
"""Publishes that may be under way at a time."""
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
        self._publishing: JetStreamContext | None = None
        self._ordered: list[OrderedConsumer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._dead = DeadLetters(self._layout)

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
        return self._client is not None and self._client.is_connected

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        for start in range(0, len(envelopes), SLICE):
            await self._publish(envelopes[start : start + SLICE], start)

    async def list_dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        with _outages():
            for name in [queue] if queue else self._subscriptions.queues():
                found += [letter async for _, letter in self._dead.waiting(self._jetstream(), name, limit)]
        return sorted(found, key=lambda letter: letter.since)[:limit]

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
        self._publishing = client.jetstream(timeout=self._patience)
        await self._layout.declare(self._publishing, self._subscriptions)
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
        self._spawn(self._declare_again())

    async def _declare_again(self) -> None:
        """The broker may have come back empty. JetStream answers a little later than the server."""
        while self._publishing and await self.healthy():
            try:
                await self._layout.declare(self._publishing, self._subscriptions)
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
        if self._client is None or self._publishing is None or not self._client.is_connected:
            raise BusUnavailable("not connected to NATS")
        return self._publishing

    async def _publish(self, envelopes: Sequence[Envelope], before: int) -> None:
        confirms: list[asyncio.Future[Any]] = []
        refusal: Exception | None = None
        with _outages(before):
            jetstream = self._jetstream()
            for envelope in envelopes:
                try:
                    confirms.append(await self._announce(jetstream, envelope))
                except MaxPayloadError as error:
                    refusal = error
                    break
            await asyncio.wait(confirms, timeout=self._patience) if confirms else None
        confirmed = next((place for place, confirm in enumerate(confirms) if not _stored(confirm)), len(confirms))
        if confirmed < len(confirms):
            error = (
                confirms[confirmed].exception() if confirms[confirmed].done() else TimeoutError("no confirm in time")
            )
            for confirm in confirms:
                confirm.cancel()
            refused = isinstance(error, APIError) and error.code == 400
            raise (BusRefused if refused else BusUnavailable)(repr(error), confirmed=before + confirmed)
        if refusal:
            raise BusRefused(repr(refusal), confirmed=before + confirmed)

    async def _announce(self, jetstream: "JetStreamContext", envelope: Envelope) -> "asyncio.Future[Any]":
        return await jetstream.publish_async(
            self._layout.subject(envelope.type),
            encode(envelope),
            wait_stall=self._patience,
            headers={"Nats-Msg-Id": envelope.event_id.hex},
            msg_ttl=HEARTBEAT_LIFE if is_heartbeat(envelope) else None,
        )

    def _consume(self, broker: NatsBroker, subscription: Subscription) -> None:
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


def _stored(confirm: "asyncio.Future[Any]") -> bool:
    return confirm.done() and not confirm.cancelled() and confirm.exception() is None


@contextlib.contextmanager
def _outages(confirmed: int = 0):
    try:
        yield
    except FAILURES as error:
        raise BusUnavailable(repr(error), confirmed=confirmed) from error

"""Ordered queues on RabbitMQ: the broker keeps one consumer active and hands what it leaves to the next."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from ..events.envelope import Envelope
from .port import BusUnavailable
from .rabbit_layout import Layout
from .subscription import OrderedSubscription, Stopping, decode

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel

log = structlog.get_logger()

ACK_SECONDS = 5
"""On a connection that has just died, aio-pika's acknowledgement may wait for ever."""

Send = Callable[[bytes, str, str, dict[str, Any]], Awaitable[None]]


class Arrival:
    """A message with its channel, which aio-pika does not tell any more once it is closed."""

    def __init__(self, message: "AbstractIncomingMessage") -> None:
        self.message, self.channel = message, message.channel

    @property
    def over(self) -> bool:
        """Its channel has ended, so it cannot be acknowledged and comes again."""
        return self.channel.is_closed


class OrderedConsumer:
    """Takes messages from aio-pika directly: FastStream has no batches on RabbitMQ, and runs handlers side by side."""

    def __init__(self, subscription: OrderedSubscription, layout: Layout, send: Send) -> None:
        self._subscription, self._layout, self._send = subscription, layout, send
        self._arrived: asyncio.Queue[Arrival | None] = asyncio.Queue()
        self._channel: AbstractRobustChannel | None = None
        self._loop: asyncio.Task[None] | None = None

    async def start(self, channel: "AbstractRobustChannel") -> None:
        self._channel = channel
        await channel.set_qos(prefetch_count=2 * self._subscription.limit)
        name = self._layout.ordered(self._subscription.queue)
        queue = await channel.declare_queue(name, passive=True)
        self._loop = asyncio.create_task(self._run())
        await queue.consume(self._arrive)

    @property
    def reading(self) -> bool:
        return self._loop is not None and not self._loop.done()

    async def stop(self) -> None:
        """The batch in progress may end; the rest goes back to the queue."""
        if self._loop:
            self._arrived.put_nowait(None)
            await asyncio.wait([self._loop], timeout=5)
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._channel:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(5):
                    await self._channel.close()

    async def _run(self) -> None:
        while batch := await self._batch():
            try:
                while not batch[0].over and not await self._settled([arrival.message for arrival in batch]):
                    continue
            except Stopping:
                return

    async def _settled(self, batch: "list[AbstractIncomingMessage]") -> bool:
        """Where the channel has ended meanwhile, the broker brings the same messages again."""
        try:
            envelopes = [envelope for message in batch if (envelope := await self._decoded(message))]
            await self._subscription.handle(envelopes)
            async with asyncio.timeout(ACK_SECONDS):
                await batch[-1].ack(multiple=True)
        except (*CONNECTION_EXCEPTIONS, BusUnavailable, TimeoutError) as error:
            log.warning("batch_not_settled", queue=self._subscription.queue, reason=repr(error))
            await asyncio.sleep(0.5)
            return False
        return True

    async def _arrive(self, message: "AbstractIncomingMessage") -> None:
        self._arrived.put_nowait(Arrival(message))

    async def _batch(self) -> "list[Arrival]":
        """What has arrived on the channel that lives (what came by an earlier one comes again); nothing at the end."""
        batch: list[Arrival] = []
        while not batch or (len(batch) < self._subscription.limit and not self._arrived.empty()):
            arrival = await self._arrived.get()
            if arrival is None:
                return []
            if not arrival.over:
                if batch and batch[0].channel is not arrival.channel:
                    batch.clear()
                batch.append(arrival)
        return batch

    async def _decoded(self, message: "AbstractIncomingMessage") -> Envelope | None:
        envelope = decode(message.body)
        if envelope is None:
            log.error("message_not_an_envelope", queue=self._subscription.queue)
            headers: dict[str, Any] = {"x-attempt": 1, "x-reason": "not an envelope"}
            await self._send(message.body, self._layout.dead, self._subscription.queue, headers)
        return envelope

"""Dead letters on RabbitMQ: one queue per subscription, read without taking, taken by replaying."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aio_pika import DeliveryMode, Message

from .port import DeadLetter
from .rabbit_layout import Layout
from .subscription import decode

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel


class DeadLetters:
    def __init__(self, layout: Layout, channel: "Callable[[], Awaitable[AbstractRobustChannel]]") -> None:
        self._layout, self._channel = layout, channel

    async def list(self, queue: str, limit: int) -> list[DeadLetter]:
        async with self._looking(queue) as waiting:
            return [_letter(queue, message) async for message in waiting(limit)]

    async def replay(self, queue: str, to: str, ids: Collection[str] | None) -> int:
        """Each letter leaves the dead ones when its queue `to` has confirmed it."""
        count = 0
        async with self._looking(queue) as waiting:
            async for message in waiting(None):
                if ids is None or _letter(queue, message).id in ids:
                    alive = Message(
                        message.body,
                        content_type="application/json",
                        delivery_mode=DeliveryMode.PERSISTENT,
                        headers={"x-attempt": 1},
                    )
                    await message.channel.basic_publish(
                        alive.body, routing_key=to, properties=alive.properties, mandatory=True, timeout=5
                    )
                    await message.ack()
                    count += 1
        return count

    @asynccontextmanager
    async def _looking(
        self, queue: str
    ) -> "AsyncIterator[Callable[[int | None], AsyncIterator[AbstractIncomingMessage]]]":
        # What was taken and not acknowledged goes back to its place when the channel closes.
        channel = await self._channel()
        try:
            async with asyncio.timeout(60):
                dead = await channel.declare_queue(
                    self._layout.dead_queue(queue), durable=True, arguments={"x-queue-type": "quorum"}
                )
                at_first = dead.declaration_result.message_count or 0

                async def waiting(limit: int | None) -> "AsyncIterator[AbstractIncomingMessage]":
                    for _ in range(at_first if limit is None else min(limit, at_first)):
                        message = await dead.get(fail=False)
                        if message is None:
                            return
                        yield message

                yield waiting
        finally:
            await channel.close()


def _letter(queue: str, message: "AbstractIncomingMessage") -> DeadLetter:
    headers: dict[str, Any] = dict(message.headers)
    envelope = decode(message.body)
    since = headers.get("x-since") or int(time.time() * 1000)
    name = f"{headers.get('x-since')}".encode() + message.body
    return DeadLetter(
        id=hashlib.sha256(name).hexdigest()[:32],
        queue=queue,
        reason=str(headers.get("x-reason") or headers.get("x-first-death-reason") or "parked by the broker"),
        attempts=int(headers.get("x-attempt", 1)),
        since=datetime.fromtimestamp(since / 1000, UTC),
        body=message.body,
        envelope=envelope,
    )

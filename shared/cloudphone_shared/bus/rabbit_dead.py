"""Dead letters on RabbitMQ: one queue per subscription, read without taking, taken by replaying."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pamqp.commands import Basic

from .port import BusUnavailable, DeadLetter
from .rabbit_layout import PLAIN, Layout
from .subscription import decode

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel


Take = Callable[[int | None], "AsyncIterator[AbstractIncomingMessage]"]


class DeadLetters:
    def __init__(self, layout: Layout, channel: "Callable[[], Awaitable[AbstractRobustChannel]]") -> None:
        self._layout, self._channel = layout, channel

    async def list(self, queue: str, limit: int) -> list[DeadLetter]:
        async with self._taken(queue) as taken:
            return [_letter(queue, message) async for message in taken(limit)]

    async def replay(self, queue: str, to: str, ids: Collection[str] | None) -> int:
        """Each letter leaves the dead ones when its queue `to` has confirmed it."""
        count, began = 0, datetime.now(UTC)
        async with self._taken(queue) as taken:
            async for message in taken(None):
                letter = _letter(queue, message)
                if letter.since > began:  # died again of this replay
                    break
                if ids is None or letter.id in ids:
                    await _send_to(to, message)
                    await message.ack()
                    count += 1
        return count

    @asynccontextmanager
    async def _taken(
        self, queue: str
    ) -> "AsyncGenerator[Callable[[int | None], AsyncIterator[AbstractIncomingMessage]]]":
        """Oldest first, as many as asked for; what is not acknowledged at the end goes back to its place."""
        channel = await self._channel()
        last: AbstractIncomingMessage | None = None

        async def take(limit: int | None) -> "AsyncIterator[AbstractIncomingMessage]":
            nonlocal last
            count = 0
            while (limit is None or count < limit) and (message := await dead.get(fail=False)):
                last, count = message, count + 1
                yield message

        try:
            async with asyncio.timeout(60):
                dead = await channel.declare_queue(self._layout.dead_queue(queue), durable=True, arguments=PLAIN)
                yield take
                if last:
                    await last.channel.basic_nack(last.delivery_tag or 0, multiple=True, requeue=True)
        finally:
            await channel.close()


async def _send_to(queue: str, message: "AbstractIncomingMessage") -> None:
    properties = Basic.Properties(content_type="application/json", delivery_mode=2, headers={"x-attempt": 1})
    confirm = await message.channel.basic_publish(
        message.body, routing_key=queue, properties=properties, mandatory=True, timeout=5
    )
    if not isinstance(confirm, Basic.Ack):
        raise BusUnavailable(f"{queue} is not there")


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

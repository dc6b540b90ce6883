"""Dead letters on RabbitMQ: one queue per subscription, read without taking, taken by replaying."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pamqp.commands import Basic

from .port import BusUnavailable, DeadLetter, by_age
from .rabbit_layout import PLAIN, Layout
from .subscription import decode

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel


_LOOKED_AT = 1000

Take = Callable[[int | None], "AsyncIterator[AbstractIncomingMessage]"]


class DeadLetters:
    def __init__(self, layout: Layout, channel: "Callable[[], Awaitable[AbstractRobustChannel]]") -> None:
        self._layout, self._channel = layout, channel

    async def list(self, queue: str, limit: int) -> list[DeadLetter]:
        async with self._taken(queue) as taken:
            found = [_letter(queue, message) async for message in taken(max(limit, _LOOKED_AT))]
        return sorted(found, key=by_age)[:limit]

    async def replay(self, queue: str, to: str, ids: Collection[str] | None) -> int:
        """Each letter leaves the dead ones when its queue `to` has confirmed it."""
        count, began = 0, datetime.now(UTC)
        async with self._taken(queue) as taken:
            async for message in taken(None):
                letter = _letter(queue, message)
                died_of_this_replay = letter.since > began
                if not died_of_this_replay and (ids is None or letter.id in ids):
                    await _send_to(to, message)
                    await message.ack()
                    count += 1
        return count

    @asynccontextmanager
    async def _taken(
        self, queue: str
    ) -> "AsyncGenerator[Callable[[int | None], AsyncIterator[AbstractIncomingMessage]]]":
        """As many as asked for. What is not acknowledged at the end goes back, ahead of the others but in any order: a
        quorum queue keeps none among what it takes back."""
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
    since = int(headers.get("x-since", 0))
    name = f"{since}".encode() + message.body
    return DeadLetter(
        id=hashlib.sha256(name).hexdigest()[:32],
        queue=queue,
        reason=str(headers.get("x-reason") or headers.get("x-first-death-reason") or "parked by the broker"),
        attempts=int(headers.get("x-attempt", 1)),
        since=datetime.fromtimestamp(since / 1000, UTC),
        body=message.body,
        envelope=envelope,
    )

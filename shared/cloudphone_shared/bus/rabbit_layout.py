"""The exchanges and queues on RabbitMQ, and what they are called."""

from typing import TYPE_CHECKING, Any

from .subscription import HELD_DELAY, Subscriptions

if TYPE_CHECKING:
    from aio_pika.abc import AbstractRobustChannel

Arguments = dict[str, Any]

# No dead-letter exchange here: expired heartbeats would go there. The consumer parks what it cannot take in.
PLAIN: Arguments = {"x-queue-type": "quorum"}
ORDERED: Arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}


class Layout:
    """`<name>`: topic, receives every event. `<name>.dead`: direct, by queue. `<name>.retry.<ms>`: fanout to the queue
    of the same name, where a message waits until it expires and goes back, by its routing key, to where it came from.
    """

    def __init__(self, name: str) -> None:
        self.exchange, self.dead = name, f"{name}.dead"

    def retry(self, delay: float) -> str:
        return f"{self.exchange}.retry.{int(delay * 1000)}"

    def ordered(self, queue: str) -> str:
        return f"{queue}.ordered"

    def dead_queue(self, queue: str) -> str:
        return f"{queue}.dead"

    async def declare(self, channel: "AbstractRobustChannel", subscriptions: Subscriptions) -> None:
        await channel.declare_exchange(self.exchange, "topic", durable=True)
        await channel.declare_exchange(self.dead, "direct", durable=True)
        for delay in sorted({HELD_DELAY, *(delay for s in subscriptions.plain for delay in s.retry.delays)}):
            await self._declare_retry(channel, delay)
        for subscription in subscriptions.plain:
            await self._declare(channel, subscription.queue, subscription.queue, subscription.patterns, PLAIN)
        for subscription in subscriptions.ordered:
            name = self.ordered(subscription.queue)
            await self._declare(channel, name, subscription.queue, subscription.patterns, ORDERED)

    async def _declare(
        self, channel: "AbstractRobustChannel", name: str, queue: str, patterns: tuple[str, ...], arguments: Arguments
    ) -> None:
        dead = await channel.declare_queue(self.dead_queue(queue), durable=True, arguments=PLAIN)
        await dead.bind(self.dead, routing_key=queue)
        declared = await channel.declare_queue(name, durable=True, arguments=arguments)
        for pattern in patterns:
            await declared.bind(self.exchange, routing_key=pattern)

    async def _declare_retry(self, channel: "AbstractRobustChannel", delay: float) -> None:
        name = self.retry(delay)
        await channel.declare_exchange(name, "fanout", durable=True)
        waiting: Arguments = {
            "x-queue-type": "quorum",
            "x-message-ttl": int(delay * 1000),
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        queue = await channel.declare_queue(name, durable=True, arguments=waiting)
        await queue.bind(name)

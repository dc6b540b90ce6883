"""The streams and consumers on NATS, and what they are called."""

# pyright: reportUnknownMemberType=false
# nats-py's parameters are partly untyped.

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, KeyValueConfig, StorageType, StreamConfig
from nats.js.errors import BadRequestError

from .patterns import exact, subjects
from .subscription import Subscription, Subscriptions

WEEK = 7 * 86_400.0
SAME_MESSAGE_SECONDS = 120.0
"""How long a repeated publish of the same event is recognised."""


class Layout:
    """Stream `<name>` with dashes for dots, `…-dead` for dead letters, key-value bucket `…-ordered` for who reads an
    ordered queue and how far. Events travel as `<name>.<type>`; `redrive.<name>.<queue>` goes to that queue only.
    """

    def __init__(self, name: str, ack_wait: float) -> None:
        self.name, self.ack_wait = name, ack_wait
        self.stream = name.replace(".", "-")
        self.dead_stream, self.bucket = f"{self.stream}-dead", f"{self.stream}-ordered"

    def subject(self, event_type: str) -> str:
        return f"{self.name}.{event_type}"

    def durable(self, queue: str) -> str:
        return queue.replace(".", "_")

    def redrive(self, queue: str) -> str:
        return f"redrive.{self.name}.{self.durable(queue)}"

    def dead(self, queue: str) -> str:
        return f"dead.{self.name}.{self.durable(queue)}"

    def filters(self, queue: str, patterns: tuple[str, ...]) -> list[str]:
        return [*subjects(self.name, patterns), self.redrive(queue)]

    def filters_coarsely(self, patterns: tuple[str, ...]) -> bool:
        return set(subjects(self.name, patterns)) != {s for p in patterns for s in exact(self.name, p)}

    def consumer(self, subscription: Subscription) -> ConsumerConfig:
        name = self.durable(subscription.queue)
        return ConsumerConfig(
            name=name,
            durable_name=name,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_ack_pending=20_000,  # messages that wait for their next attempt count too
            max_waiting=4_096,
            filter_subjects=self.filters(subscription.queue, subscription.patterns),
        )

    async def declare(self, jetstream: JetStreamContext, subscriptions: Subscriptions) -> None:
        """Makes what is missing, changes what differs. Raises NatsError."""
        await _declare_stream(
            jetstream,
            StreamConfig(
                name=self.stream,
                subjects=[f"{self.name}.>", f"redrive.{self.name}.*"],
                max_age=WEEK,
                duplicate_window=SAME_MESSAGE_SECONDS,
                allow_msg_ttl=True,
            ),
        )
        await _declare_stream(
            jetstream,
            StreamConfig(
                name=self.dead_stream,
                subjects=[f"dead.{self.name}.*"],
                max_age=8 * WEEK,
                duplicate_window=SAME_MESSAGE_SECONDS,
            ),
        )
        if subscriptions.ordered:
            await jetstream.create_key_value(KeyValueConfig(bucket=self.bucket, storage=StorageType.FILE))
        for subscription in subscriptions.plain:
            await jetstream.add_consumer(self.stream, self.consumer(subscription))


async def _declare_stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await jetstream.add_stream(config)
    except BadRequestError:
        await jetstream.update_stream(config)

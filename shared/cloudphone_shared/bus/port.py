"""What the rest of the code knows of a message broker."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from ..errors import Unavailable
from ..events.envelope import Envelope


class Retry(msgspec.Struct, frozen=True):
    """Seconds to wait before the second, third … attempt; after the last one, the dead letter."""

    delays: tuple[float, ...] = (1.0, 5.0, 30.0)


LADDER = Retry()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`attempt` is 1 at first. An attempt cut short by a crash may or may not count."""

    queue: str
    attempt: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a queue could not take in. `envelope` is None where the body was none; `id` is for `replay`."""

    id: str
    queue: str
    reason: str
    attempts: int
    since: datetime
    body: bytes
    envelope: Envelope | None


def by_age(letter: DeadLetter) -> tuple[datetime, str]:
    """How dead letters are sorted: the oldest first."""
    return letter.since, letter.id


Handler = Callable[[Envelope, Delivery], Awaitable[None]]
BatchHandler = Callable[[list[Envelope]], Awaitable[None]]
Around = Callable[[Envelope, str], AbstractContextManager[object]]
"""(envelope, queue): wraps every run of a handler."""


class Reject(Exception):
    """Raised by a handler that will never succeed with this message: dead letter at once."""


class BusUnavailable(Unavailable):
    """The broker is away or did not confirm in time. What was sent may have arrived: publish it again.

    `confirmed` envelopes from the front of the batch need no repeat.
    """

    def __init__(self, reason: str, *, confirmed: int = 0) -> None:
        super().__init__("bus", reason)
        self.confirmed = confirmed


class BusRefused(Exception):
    """The broker will not take the envelope at place `confirmed` of the batch, whose predecessors are confirmed."""

    def __init__(self, reason: str, *, confirmed: int = 0) -> None:
        super().__init__(reason)
        self.confirmed = confirmed


class Bus(Protocol):
    """At least once. Subscribe first, then start; handlers run in the loop that started the bus.

    A pattern matches types word by word: `*` is one word, `#` any number, none included.
    """

    async def start(self) -> None:
        """Returns when the broker has been reached and all queues exist, however long that takes."""
        ...

    async def stop(self) -> None:
        """Lets running handlers end; what they had not finished is delivered again."""
        ...

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """In order; returns when the broker has stored all. Raises BusUnavailable (within seconds), BusRefused."""
        ...

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
        """One handler per queue; processes that subscribe to the same queue share its messages.

        A handler's Reject parks the message, Unavailable pauses the queue and tries again without counting, any other
        exception follows `retry`. `ordered`: one message at a time, in the order of publishing, over all processes;
        a failure is tried again in place for ever.
        """
        ...

    def subscribe_batches(
        self, queue: str, patterns: Sequence[str], handler: BatchHandler, *, limit: int = 256
    ) -> None:
        """Like `ordered`, with what has arrived meanwhile, at most `limit` envelopes, at once."""
        ...

    async def healthy(self) -> bool: ...

    async def list_dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """By the time of their death, those of one moment by id, and the same at every call; of all queues this bus
        subscribes to where none is named. Of a queue with more than 1,000 (or `limit`), only those that the broker
        gives first are looked at. Raises BusUnavailable.
        """
        ...

    async def replay(self, queue: str, ids: Collection[str] | None = None) -> int:
        """Delivers dead letters (all, or those named) to their queue again, as first attempts; returns how many.

        Raises BusUnavailable.
        """
        ...

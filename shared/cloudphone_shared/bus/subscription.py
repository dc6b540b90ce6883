"""What happens to a message once it has arrived, whatever broker brought it."""

import asyncio
import contextlib
import math
import time
from collections.abc import Generator, Sequence

import msgspec
import structlog

from ..errors import Unavailable
from ..events.envelope import HEARTBEAT, Envelope
from ..http.context import request_id
from ..observability.tracing import span
from .patterns import matcher
from .port import Around, BatchHandler, Delivery, Handler, Reject, Retry

log = structlog.get_logger()

CRASHES = 5
"""Deliveries that ended without a verdict (kill -9, a cut connection) before a message is taken for the killer."""

HEARTBEAT_LIFE = 10
"""Seconds a broker keeps a heartbeat nobody has taken: an older one says nothing a younger one does not."""

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode


def decode(body: bytes) -> Envelope | None:
    """None when it is not an envelope."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_heartbeat(envelope: Envelope) -> bool:
    return envelope.type.endswith(f".{HEARTBEAT}")


HELD_DELAY = 30.0
"""Seconds after which a message that was given back because of a long pause comes again."""


class Verdict(msgspec.Struct, frozen=True):
    """Done where there is no reason; else again after `delay` seconds, or dead where that is None."""

    reason: str = ""
    delay: float | None = None
    counts: bool = True


class NotSubscribed(Exception):
    """A queue brought a type that none of its patterns matches."""


class Stopping(Exception):
    """The bus stops while a message waits for its turn: it stays with the broker."""


class Gate:
    """Shut while what the handlers need is away. One for all messages of a queue."""

    FIRST, LAST = 0.25, 10.0

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = 0.0
        self._closing = asyncio.Event()

    async def passed(self) -> None:
        """Waits while it is shut. Raises Stopping."""
        while not self._closing.is_set() and (rest := self._until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(rest):
                    await self._closing.wait()
        if self._closing.is_set():
            raise Stopping

    def shut(self) -> None:
        """For twice as long each time, until it is opened."""
        if self._until <= time.monotonic():
            self._pause = min(max(self._pause * 2, self.FIRST), self.LAST)
            self._until = time.monotonic() + self._pause

    def open(self) -> None:
        self._pause = 0.0

    def close(self) -> None:
        self._closing.set()


@contextlib.contextmanager
def traced(envelope: Envelope, queue: str) -> Generator[None]:
    """The handler's logs and calls carry the correlation id of what it handles; its span continues the announcer's."""
    token = request_id.set(envelope.correlation_id or str(envelope.event_id))
    carrier = {"traceparent": envelope.traceparent} if envelope.traceparent else None
    try:
        with (
            structlog.contextvars.bound_contextvars(queue=queue, event_id=str(envelope.event_id)),
            span(f"{queue} {envelope.type}", carrier=carrier, event_id=str(envelope.event_id)),
        ):
            yield
    finally:
        request_id.reset(token)


class Subscription:
    """A queue, what it receives, and who takes it in."""

    def __init__(
        self, queue: str, patterns: Sequence[str], handler: Handler, retry: Retry, concurrency: int, around: Around
    ) -> None:
        self.queue, self.patterns, self.retry, self.concurrency = queue, tuple(patterns), retry, concurrency
        self.matches = matcher(patterns)
        self.filtered_coarsely = False
        self.gate = Gate()
        self._handler, self._around = handler, around

    async def handle(self, body: bytes, attempt: int, crashes: int = 0, hold: float = math.inf) -> Verdict:
        """Runs the handler, for `hold` seconds again and again while what it needs is away.

        Raises Stopping and nothing else.
        """
        envelope = decode(body)
        if envelope is None:
            return Verdict("not an envelope")
        if not self.matches(envelope.type):
            # Another release of this service may know it: never dropped, unless the broker cannot filter finely.
            return (
                Verdict() if self.filtered_coarsely else self._failed(envelope, attempt, NotSubscribed(envelope.type))
            )
        if crashes > CRASHES:
            return Verdict(f"{crashes} deliveries ended without a verdict")
        began = time.monotonic()
        while True:
            await self.gate.passed()
            try:
                with self._around(envelope, self.queue):
                    await self._handler(envelope, Delivery(queue=self.queue, attempt=attempt))
            except Unavailable as away:
                log.warning("handler_paused", queue=self.queue, type=envelope.type, reason=str(away))
                self.gate.shut()
                if time.monotonic() - began > hold:
                    return Verdict(str(away), HELD_DELAY, counts=False)
            except Reject as refusal:
                log.warning("message_rejected", queue=self.queue, type=envelope.type, reason=str(refusal))
                return Verdict(f"rejected: {refusal}")
            except Exception as error:
                return self._failed(envelope, attempt, error)
            else:
                self.gate.open()
                return Verdict()

    def _failed(self, envelope: Envelope, attempt: int, error: Exception) -> Verdict:
        delays = self.retry.delays
        delay = delays[attempt - 1] if attempt <= len(delays) else None
        log.error(
            "handler_failed", queue=self.queue, type=envelope.type, attempt=attempt, again_in=delay, exc_info=error
        )
        return Verdict(repr(error)[:400], delay)


class OrderedSubscription:
    """A queue whose messages are taken in one after the other, whatever it takes."""

    def __init__(self, queue: str, patterns: Sequence[str], handler: BatchHandler, limit: int) -> None:
        self.queue, self.patterns, self.limit = queue, tuple(patterns), limit
        self.matches = matcher(patterns)
        self.gate = Gate()
        self._handler = handler

    @classmethod
    def of_single(cls, queue: str, patterns: Sequence[str], handler: Handler, around: Around) -> "OrderedSubscription":
        async def one(envelopes: list[Envelope]) -> None:
            for envelope in envelopes:
                with around(envelope, queue):
                    await handler(envelope, Delivery(queue=queue, attempt=1))

        return cls(queue, patterns, one, limit=1)

    async def handle(self, envelopes: list[Envelope]) -> None:
        """Returns when the handler has taken in the envelopes. Raises Stopping and nothing else."""
        wanted = [envelope for envelope in envelopes if self.matches(envelope.type)]
        while wanted:
            await self.gate.passed()
            try:
                await self._handler(wanted)
            except Unavailable as away:
                log.warning("handler_paused", queue=self.queue, reason=str(away))
                self.gate.shut()
            except Exception as error:
                log.error("handler_failed", queue=self.queue, first=wanted[0].type, exc_info=error)
                self.gate.shut()
            else:
                self.gate.open()
                return


class Subscriptions:
    """What this process takes in. One handler per queue: two would share its messages at random."""

    def __init__(self, around: Around = traced) -> None:
        self.plain: list[Subscription] = []
        self.ordered: list[OrderedSubscription] = []
        self._around = around

    def add(
        self, queue: str, patterns: Sequence[str], handler: Handler, retry: Retry, concurrency: int, ordered: bool
    ) -> None:
        self._check(queue, patterns)
        if ordered:
            self.ordered.append(OrderedSubscription.of_single(queue, patterns, handler, self._around))
        else:
            self.plain.append(Subscription(queue, patterns, handler, retry, concurrency, self._around))

    def add_batches(self, queue: str, patterns: Sequence[str], handler: BatchHandler, limit: int) -> None:
        self._check(queue, patterns)
        self.ordered.append(OrderedSubscription(queue, patterns, handler, limit))

    def queues(self) -> list[str]:
        return [subscription.queue for subscription in (*self.plain, *self.ordered)]

    def close(self) -> None:
        for subscription in (*self.plain, *self.ordered):
            subscription.gate.close()

    def _check(self, queue: str, patterns: Sequence[str]) -> None:
        if not patterns:
            raise ValueError(f"{queue}: no patterns")
        if queue in self.queues():
            raise ValueError(f"{queue} has a handler already; dispatch on the type inside it")

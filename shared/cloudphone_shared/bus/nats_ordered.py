"""Ordered queues on NATS: one reader over all processes, who holds a lease and notes how far it has come.

JetStream's own consumers hand a dead client's messages out again only after later ones, so order needs a reader of our
own. Lease and place are one key, written by compare-and-set: who lost the lease cannot move the place. Waiting readers
measure the lease on their own clock, from when they saw the key change; no two clocks are compared.
"""

# pyright: reportUnknownMemberType=false
# nats-py's parameters are partly untyped.

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
import structlog
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from ..events.envelope import Envelope
from .nats_dead import DeadLetters
from .nats_layout import Layout
from .subscription import OrderedSubscription, Stopping, decode

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

log = structlog.get_logger()

ASKED_SECONDS = 20.0
"""How long a request for messages stands."""
SIGN_OF_LIFE_SECONDS = 1.0
"""How often the broker says that it still does."""
CANCELLED_AGAIN_SECONDS = 0.5


class Place(msgspec.Struct, frozen=True):
    """`at`: the stream's number of the last message taken in. No `holder`: free to take."""

    holder: str = ""
    at: int = 0


_encode = msgspec.json.encode
_decode_place = msgspec.json.Decoder(Place).decode


class LeaseLost(Exception):
    """Somebody else reads this queue now, or may."""


class Lease:
    """Raises LeaseLost as soon as it is not certain to be ours."""

    def __init__(self, bucket: "KeyValue", key: str, seconds: float) -> None:
        self._bucket, self._key, self.seconds = bucket, key, seconds
        self._me = uuid4().hex
        self._revision = 0
        self._until = 0.0
        self._writing = asyncio.Lock()
        self.at = 0

    async def take(self) -> None:
        """Returns when it is ours; `at` is then where to go on."""
        seen, since = -1, time.monotonic()
        while True:
            asked = time.monotonic()
            place, revision = await self._read()
            if revision != seen:
                seen, since = revision, time.monotonic()
            if not place.holder or time.monotonic() - since > self.seconds:
                with contextlib.suppress(LeaseLost):
                    self.at, self._revision, self._until = place.at, revision, asked + self.seconds
                    await self.move(place.at)
                    return
            await asyncio.sleep(self.seconds / 10)

    async def keep(self) -> None:
        """Renews it for ever."""
        while True:
            await asyncio.sleep(self.seconds / 4)
            await self.move(None)

    async def move(self, at: int | None) -> None:
        """Notes the place (None: the same) and so renews the lease."""
        await self._write(self._me, at)

    async def release(self) -> None:
        with contextlib.suppress(LeaseLost):
            await self._write("", None)

    async def _read(self) -> tuple[Place, int]:
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            return Place(), 0
        return _decode_place(entry.value or b"{}"), entry.revision or 0

    async def _write(self, holder: str, at: int | None) -> None:
        async with self._writing:
            if at is not None:
                self.at = at
            asked = time.monotonic()
            if asked >= self._until:
                raise LeaseLost
            try:
                async with asyncio.timeout(self._until - asked):
                    value = _encode(Place(holder, self.at))
                    self._revision = await self._bucket.update(self._key, value, self._revision)
            except (KeyWrongLastSequenceError, TimeoutError, NatsError) as error:
                raise LeaseLost from error
            self._until = asked + self.seconds


class Reader:
    """The stream's messages behind a place, in order and without gaps, through a consumer that keeps no state."""

    def __init__(self, client: "Client", layout: Layout, filters: list[str], window: int) -> None:
        self._client, self._layout, self._filters, self._window = client, layout, filters, window
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._requested = 0
        self._last = 0
        self._heard = time.monotonic()

    @contextlib.asynccontextmanager
    async def behind(self, at: int):
        jetstream = self._client.jetstream(timeout=5)
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=at + 1,
            ack_policy=AckPolicy.NONE,
            filter_subjects=self._filters,
            inactive_threshold=30,
            mem_storage=True,
            num_replicas=1,
        )
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, cb=self._arrived.put)
        try:
            info = await jetstream.add_consumer(self._layout.stream, config)
            self._ask = f"$JS.API.CONSUMER.MSG.NEXT.{self._layout.stream}.{info.name}"
            self._inbox = inbox
            yield self
        finally:
            with contextlib.suppress(NatsError, TimeoutError):
                await subscription.unsubscribe()

    async def batch(self, limit: int) -> "list[Msg]":
        """At least one message; what else has arrived, up to the limit. Raises LookupError when the line is broken."""
        found: list[Msg] = []
        while not found or (len(found) < limit and not self._arrived.empty()):
            if not found and self._requested < self._window // 2 + 1:
                await self._request()
            message = await self._next()
            if message.headers and "Status" in message.headers and not message.data:
                self._status(message.headers["Status"], message.headers)
                continue
            self._requested -= 1
            number = message.metadata.sequence.consumer
            if number != self._last + 1:
                raise LookupError(f"message {number} came after {self._last}")
            self._last = number
            found.append(message)
        return found

    async def _next(self) -> "Msg":
        try:
            # Not wait_for: on Python 3.11 it loses a cancellation that comes together with a message.
            async with asyncio.timeout(SIGN_OF_LIFE_SECONDS * 3):
                message = await self._arrived.get()
        except TimeoutError:
            raise LookupError("the consumer is silent") from None
        if message is None:
            raise LookupError("the connection was cut")
        return message

    def cut(self) -> None:
        """The server behind the connection is another one, or knows nothing of this consumer any more."""
        self._arrived.put_nowait(None)

    async def _request(self) -> None:
        count = self._window - self._requested
        wish = {"batch": count, "expires": int(ASKED_SECONDS * 1e9), "idle_heartbeat": int(SIGN_OF_LIFE_SECONDS * 1e9)}
        self._requested += count
        await self._client.publish(self._ask, _encode(wish), reply=self._inbox)

    def _status(self, status: str, headers: dict[str, str]) -> None:
        if status == "100":
            return
        if status in ("404", "408", "409") and "Nats-Pending-Messages" in headers:
            self._requested = max(0, self._requested - int(headers["Nats-Pending-Messages"]))
            return
        raise LookupError(f"the consumer answered {status} {headers.get('Description', '')}")


class OrderedConsumer:
    def __init__(self, subscription: OrderedSubscription, layout: Layout, client: "Client", lease: float) -> None:
        self._subscription, self._layout, self._client, self._seconds = subscription, layout, client, lease
        self._dead = DeadLetters(layout)
        self._loop: asyncio.Task[None] | None = None
        self._reader: Reader | None = None
        self._idle = asyncio.Event()

    def start(self) -> None:
        self._idle.set()
        self._loop = asyncio.create_task(self._run())

    @property
    def reading(self) -> bool:
        """Or waiting for its turn."""
        return self._loop is not None and not self._loop.done()

    def reconnected(self) -> None:
        if self._reader:
            self._reader.cut()

    async def stop(self) -> None:
        """The batch in progress may end, and the next reader may begin at once."""
        if self._loop:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._idle.wait()
            await _end(self._loop)

    async def _run(self) -> None:
        key = self._layout.durable(self._subscription.queue)
        while True:
            try:
                bucket = await self._jetstream().key_value(self._layout.bucket)
                lease = Lease(bucket, key, self._seconds)
                await lease.take()
                await self._hold(lease)
            except Stopping:
                return
            except (LeaseLost, LookupError, NatsError, TimeoutError, OSError) as error:
                log.warning("ordered_reading_interrupted", queue=self._subscription.queue, reason=repr(error))
                await asyncio.sleep(0.1)

    async def _hold(self, lease: Lease) -> None:
        reading = asyncio.create_task(self._read(lease))
        keeping = asyncio.create_task(lease.keep())
        try:
            await asyncio.wait({reading, keeping}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (keeping, reading):
                if ended.done():
                    ended.result()
        finally:
            self._idle.set()
            await _end(reading, keeping)
            with contextlib.suppress(NatsError, TimeoutError, OSError):
                await lease.release()

    async def _read(self, lease: Lease) -> None:
        subscription = self._subscription
        filters = self._layout.filters(subscription.queue, subscription.patterns)
        last = (await self._jetstream().stream_info(self._layout.stream)).state.last_seq
        if last < lease.at:  # another stream of the same name: the broker came back empty
            await lease.move(0)
        self._reader = Reader(self._client, self._layout, filters, 2 * subscription.limit)
        async with self._reader.behind(lease.at) as reader:
            while True:
                self._idle.set()
                messages = await reader.batch(subscription.limit)
                self._idle.clear()
                envelopes = [envelope for message in messages if (envelope := await self._decoded(message))]
                await subscription.handle(envelopes)
                await lease.move(messages[-1].metadata.sequence.stream)

    async def _decoded(self, message: "Msg") -> Envelope | None:
        envelope = decode(message.data)
        if envelope is None:
            log.error("message_not_an_envelope", queue=self._subscription.queue)
            await self._dead.park(self._jetstream(), self._subscription.queue, message, "not an envelope")
        return envelope

    def _jetstream(self) -> "JetStreamContext":
        return self._client.jetstream(timeout=5)


async def _end(*tasks: "asyncio.Task[None]") -> None:
    """Cancels until they have ended: on Python 3.11 the client loses a cancellation that comes with an answer."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCELLED_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)

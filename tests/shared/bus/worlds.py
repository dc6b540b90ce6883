"""Buses and envelopes for the tests of the bus."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
from anyio import to_thread

from cloudphone_shared.bus.nats import NatsBus
from cloudphone_shared.bus.port import Bus, Delivery
from cloudphone_shared.bus.rabbit import RabbitBus
from cloudphone_shared.events import Envelope
from tests.nursery import Fork, Nursery
from tests.servers import Guard, RabbitMQ, Server

_numbers = itertools.count(1)


def envelope(type_: str = "device.created", seq: int | None = None, **data: object) -> Envelope:
    return Envelope(
        event_id=uuid4(),
        type=type_,
        version=1,
        time=datetime.now(UTC),
        source="tests",
        seq=seq,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def line(first: int, last: int, type_: str = "device.created") -> list[Envelope]:
    return [envelope(type_, seq) for seq in range(first, last + 1)]


class Taker:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.attempts: list[int] = []
        self.batches: list[int] = []

    async def __call__(self, envelope: Envelope, delivery: Delivery) -> None:
        self.envelopes.append(envelope)
        self.attempts.append(delivery.attempt)

    async def batch(self, envelopes: list[Envelope]) -> None:
        self.batches.append(len(envelopes))
        self.envelopes += envelopes

    @property
    def seqs(self) -> list[int | None]:
        return [envelope.seq for envelope in self.envelopes]

    @property
    def types(self) -> list[str]:
        return [envelope.type for envelope in self.envelopes]


class Broker:
    """A server, and a corner of it that no other test uses.

    Patient enough for a machine that stalls; who needs the dead to be found out at once says `hasty()`.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.patience, self.ack_wait, self.lease = 30.0, 6.0, 6.0
        self.name = f"tests.{uuid4().hex[:12]}"
        self.queue = f"tests.{uuid4().hex[:12]}"
        self.is_rabbit = server.scheme == "amqp"

    def can_be_killed(self) -> bool:
        return not isinstance(self.server, RabbitMQ) or self.server.queues_are_on_disk()

    def hasty(self) -> "Broker":
        """Seconds until a dead process's messages go to others: its own stalls of as long may count as its death."""
        self.ack_wait = self.lease = 1.0
        return self

    def bus(self) -> Bus:
        if self.is_rabbit:
            return RabbitBus(self.server.url, name=self.name, patience=self.patience)
        return NatsBus(
            self.server.url, name=self.name, patience=self.patience, ack_wait=self.ack_wait, lease=self.lease
        )

    @asynccontextmanager
    async def started(self, *buses: Bus) -> AsyncIterator[None]:
        for bus in buses:
            await bus.start()
        try:
            yield
        finally:
            for bus in buses:
                await bus.stop()

    @asynccontextmanager
    async def process(self, kind: str) -> AsyncIterator["Consumer"]:
        """Another process that consumes `queue`; see consumer.py."""
        folder = Guard.get().folder / f"consumer-{uuid4().hex[:12]}"
        folder.mkdir()
        program = Path(__file__).with_name("consumer.py")
        words = ["run", str(program), self.server.url, self.name, self.queue, kind, str(self.ack_wait)]
        consumer = Consumer(await to_thread.run_sync(Nursery.get().bear, words, {}, folder), folder / "log")
        try:
            yield consumer
        finally:
            consumer.process.kill()


class Consumer:
    def __init__(self, process: Fork, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> list[str]:
        return self._log.read_text().split("\n")[:-1]

    @property
    def seqs(self) -> list[int]:
        return [int(said) for said in self.said if said.isdecimal()]


def first_times(seqs: Sequence[int | None]) -> list[int | None]:
    return list(dict.fromkeys(seqs))

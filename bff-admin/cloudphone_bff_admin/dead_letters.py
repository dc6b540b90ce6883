"""Events that a subscriber could not take in, at the broker. It is reached when somebody asks, and not before."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Literal, TypeVar, get_args

from cloudphone_shared.bus import Bus
from cloudphone_shared.bus.port import DeadLetter as Parked
from cloudphone_shared.bus.port import by_age
from cloudphone_shared.contracts import Contract
from cloudphone_shared.errors import Unavailable

T = TypeVar("T")

Queue = Literal[
    "app-service.install-status",
    "app-service.volume-lost",
    "billing-service.device-started",
    "billing-service.device-stopped",
    "billing-service.device-updated",
    "billing-service.saga-device-allocate",
    "billing-service.user-updated",
    "device-service.allocations",
    "device-service.app-install",
    "device-service.app-uninstall",
    "device-service.arrears",
    "device-service.nodes",
    "device-service.operations",
    "device-service.user-updated",
    "scheduler.device-allocate",
    "scheduler.device-release",
    "scheduler.inventory",
]
"""Those that park what they cannot take in; a test holds them against what the services subscribe to."""
QUEUES: tuple[Queue, ...] = get_args(Queue)


class DeadLetter(Contract, frozen=True, kw_only=True):
    """`type` of the event, null where the message was none; `body` as it came."""

    id: str
    queue: str
    type: str | None
    reason: str
    attempts: int
    since: datetime
    body: str

    @staticmethod
    def of(parked: Parked) -> "DeadLetter":
        return DeadLetter(
            id=parked.id,
            queue=parked.queue,
            type=parked.envelope and parked.envelope.type,
            reason=parked.reason,
            attempts=parked.attempts,
            since=parked.since,
            body=parked.body.decode(errors="replace"),
        )


class DeadLetters:
    """`open_bus` makes a connection, which is kept until `close`. `patience` in seconds for an answer."""

    def __init__(self, open_bus: Callable[[], Bus], *, patience: float = 4.0) -> None:
        self._open = open_bus
        self._patience = patience
        self._bus: Bus | None = None
        self._opening = asyncio.Lock()

    async def list(self, queues: Collection[str], most: int) -> list[DeadLetter]:
        """The oldest first. Raises Unavailable."""
        found: list[Parked] = []
        for queue in queues:
            found += await self._ask(lambda bus, queue=queue: bus.list_dead(queue, most))
        return [DeadLetter.of(each) for each in sorted(found, key=by_age)[:most]]

    async def replay(self, queue: str, ids: Collection[str] | None) -> int:
        """How many were delivered to their queue again. Raises Unavailable."""
        return await self._ask(lambda bus: bus.replay(queue, ids))

    async def close(self) -> None:
        if self._bus is not None:
            await self._bus.stop()

    async def _ask(self, ask: Callable[[Bus], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                async with self._opening:
                    bus = self._bus or await self._begin()
                return await ask(bus)
        except TimeoutError:
            raise Unavailable("bus", "it gave no answer in time") from None

    async def _begin(self) -> Bus:
        bus = self._open()
        try:
            await bus.start()
        except BaseException:
            await bus.stop()
            raise
        self._bus = bus
        return bus

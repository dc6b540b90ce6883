"""The scheduler's bus process: its relay, its subscribers, the queue, and what it does by the clock."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import MOST_IDS
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.settings import BusSettings, load

from ..opening import open_clients, open_database
from . import inventory, queue
from .health import Watch
from .main import NAME
from .settings import Scheduling
from .strategies import forget_rings
from .subscribers import subscribe

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_LOOKS = 50
RING_SECONDS = 86_400.0
"""How long a ring that nobody uses is kept."""


async def run(
    *,
    database: Database | None = None,
    bus: Bus | None = None,
    core: CoreClients | None = None,
    patience: Scheduling | None = None,
) -> None:
    """Runs until cancelled; stops the bus and closes what it was given or opened."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    core = core or open_clients(NAME)
    patience = patience or load(Scheduling)
    news = asyncio.Event()
    subscribe(bus, database, patience, news.set)
    work = Work(database, core, patience, news)
    try:
        await bus.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Relay(database, bus, service=NAME).run())
            tasks.create_task(work.serve())
            tasks.create_task(work.sweep())
            tasks.create_task(work.keep_inventory())
    finally:
        await bus.stop()
        await core.__aexit__(None, None, None)
        await database.close()


class Work:
    """What goes on beside the bus. `news`: somebody may get out of the queue, or something is to be asked for."""

    def __init__(self, database: Database, core: CoreClients, patience: Scheduling, news: asyncio.Event) -> None:
        self._database = database
        self._core = core
        self._patience = patience
        self._news = news
        self._watch = Watch(patience.scheduler_silence_seconds)

    async def serve(self) -> None:
        """The queue, whenever there are news, and every while in case they were missed."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.scheduler_sweep_seconds):
                    await self._news.wait()
            self._news.clear()
            await _persisting("queue", self._serve_once)

    async def sweep(self) -> None:
        while True:
            await _persisting("sweep", self._sweep_once)
            await asyncio.sleep(self._patience.scheduler_sweep_seconds)

    async def keep_inventory(self) -> None:
        """The whole fleet at first and every while; in between what news have marked."""
        due = float("-inf")
        while True:
            if time.monotonic() >= due and await _persisting("inventory", self._synchronize):
                due = time.monotonic() + self._patience.scheduler_resync_seconds
            await asyncio.sleep(self._patience.scheduler_sweep_seconds)

    async def _serve_once(self) -> None:
        # What is asked for in vain stays marked, and is asked for again the next time only.
        for _ in range(MOST_LOOKS):
            if await inventory.look_up(self._database, self._core) < MOST_IDS:
                break
        placed = await queue.serve(self._database, self._patience)
        if placed:
            log.info("queue_served", placed=placed)

    async def _sweep_once(self) -> None:
        if await queue.expire(self._database, self._patience):
            self._news.set()
        async with self._database.writing() as session:
            silent = await self._watch.sweep(session)
            await forget_rings(session, RING_SECONDS)
        for node_id in silent:
            log.warning("node_went_offline", node_id=node_id)

    async def _synchronize(self) -> None:
        await inventory.synchronize(self._database, self._core)
        self._news.set()


async def _persisting(what: str, work: Callable[[], Awaitable[None]]) -> bool:
    """An outage postpones the work; it does not end the process."""
    try:
        await work()
    except (Unavailable, DomainError) as error:
        log.warning("work_postponed", work=what, reason=str(error))
        return False
    return True

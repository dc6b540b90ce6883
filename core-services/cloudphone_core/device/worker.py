"""The device service's bus process: its relay, its subscribers, and what it does by the clock."""

import asyncio

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import BusSettings, load

from ..opening import open_database
from .main import NAME
from .service import release_orphans
from .subscribers import subscribe

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SWEEP_SECONDS = 15.0


async def run(
    *, database: Database | None = None, bus: Bus | None = None, sweep_seconds: float = SWEEP_SECONDS
) -> None:
    """Runs until cancelled; stops the bus and closes the database it was given or opened."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    subscribe(bus, database)
    try:
        await bus.start()
        async with asyncio.TaskGroup() as work:
            work.create_task(Relay(database, bus, service=NAME).run())
            work.create_task(_sweep(database, sweep_seconds))
    finally:
        await bus.stop()
        await database.close()


async def _sweep(database: Database, every: float) -> None:
    """Takes devices from deleted owners once their state allows it."""
    while True:
        try:
            async with database.writing() as session:
                released = await release_orphans(session)
            if released:
                log.info("devices_released", owners=released)
        except Unavailable as error:
            log.warning("sweep_postponed", reason=str(error))
        await asyncio.sleep(every)

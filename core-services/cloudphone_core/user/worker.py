"""The user service's bus process: what was announced goes out; keys take turns and old sessions go by the clock."""

import asyncio
from datetime import UTC, datetime

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import Auth, BusSettings, load

from ..opening import open_database
from .keys import Sealer, tend_keys
from .main import NAME, sealer_of
from .sessions import forget_old

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TEND_SECONDS = 60.0


async def run(
    *,
    database: Database | None = None,
    bus: Bus | None = None,
    auth: Auth | None = None,
    tend_seconds: float = TEND_SECONDS,
) -> None:
    """Until it is cancelled. What is not given comes from the settings; all is closed at the end."""
    database = database or open_database(NAME)
    sealer = sealer_of(auth or load(Auth))
    bus = bus or connect(load(BusSettings).bus_url)
    try:
        await bus.start()
        async with asyncio.TaskGroup() as work:
            work.create_task(Relay(database, bus, service=NAME).run())
            work.create_task(_tend(database, sealer, tend_seconds))
    finally:
        await bus.stop()
        await database.close()


async def _tend(database: Database, sealer: Sealer, every: float) -> None:
    while True:
        at = datetime.now(UTC)
        try:
            async with database.writing() as session:
                await tend_keys(session, sealer, at)
            async with database.writing() as session:
                await forget_old(session, at)
        except Unavailable as error:
            log.warning("tending_postponed", reason=str(error))
        await asyncio.sleep(every)

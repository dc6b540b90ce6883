"""The device service's bus process: its relay, its subscribers, and what it does by the clock."""

import asyncio
from pathlib import Path

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import BusSettings, Devices, load

from ..opening import open_clients, open_database
from . import installing
from .adb import Adb, open_adb
from .installing import ApkCache, Installer
from .lifecycle.converging import SETTLE
from .lifecycle.sweeping import sweep
from .lifecycle.works import WORK
from .live.tending import tend
from .main import NAME
from .operations.job import Points, nothing_happens
from .operations.runner import Pace, Runner, merged
from .providers import open_provider
from .providers.port import Provider
from .service import release_orphans
from .subscribers import subscribe

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SWEEP_SECONDS = 5.0
ENDS = merged(SETTLE, installing.SETTLE)


async def run(
    *,
    database: Database | None = None,
    bus: Bus | None = None,
    core: CoreClients | None = None,
    provider: Provider | None = None,
    adb: Adb | None = None,
    settings: Devices | None = None,
    pace: Pace = Pace(),  # noqa: B008
    points: Points = nothing_happens,
    sweep_seconds: float = SWEEP_SECONDS,
) -> None:
    """Runs until cancelled; stops the bus and closes what it was given or opened."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    settings = settings or load(Devices)
    provider, adb = provider or open_provider(settings), adb or open_adb(settings.adb_server)
    core = core or open_clients(NAME)
    cache = ApkCache(Path(settings.apk_cache_folder), settings.apk_cache_bytes, core.app.download)
    works = merged(WORK, installing.works_of(Installer(cache)))
    runner = Runner(database, provider, adb, works, ENDS, settings=settings, pace=pace, points=points)
    subscribe(bus, database, core, runner.wake)
    try:
        await bus.start()
        async with core, asyncio.TaskGroup() as work:
            work.create_task(Relay(database, bus, service=NAME).run())
            work.create_task(_sweep(database, sweep_seconds))
            work.create_task(runner.run())
            work.create_task(tend(database, provider, adb, core, settings))
    finally:
        await bus.stop()
        await adb.close()
        await provider.close()
        await database.close()


async def _sweep(database: Database, every: float) -> None:
    """Ends what takes too long, and takes devices from deleted owners once their state allows it."""
    while True:
        try:
            await sweep(database, ENDS)
            async with database.writing() as session:
                released = await release_orphans(session)
            if released:
                log.info("devices_released", owners=released)
        except Unavailable as error:
            log.warning("sweep_postponed", reason=str(error))
        await asyncio.sleep(every)

"""The app service's bus process: what was announced goes out, what others announce comes in, and what the clock asks
for is done."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import BusSettings, load

from ..opening import open_database
from . import reporting
from .checking import Checks
from .main import NAME, open_rules, open_storage
from .storage import Storage
from .subscribers import subscribe
from .sweeping import sweep_uploads
from .uploads import Rules

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHECK_SECONDS = 3.0
SWEEP_SECONDS = 60.0


async def run(
    *,
    database: Database | None = None,
    bus: Bus | None = None,
    storage: Storage | None = None,
    rules: Rules | None = None,
    check_seconds: float = CHECK_SECONDS,
    sweep_seconds: float = SWEEP_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Until it is cancelled. What is not given comes from the settings; all is closed at the end."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    kept = storage or open_storage()
    checks = Checks(database, kept, rules or open_rules(), now)
    subscribe(bus, database, now)
    try:
        await bus.start()
        async with asyncio.TaskGroup() as work:
            work.create_task(Relay(database, bus, service=NAME).run())
            work.create_task(_every(check_seconds, "uploads_checked", checks.sweep))
            work.create_task(_every(check_seconds, "installations_timed_out", lambda: reporting.sweep(database, now())))
            work.create_task(_every(sweep_seconds, "uploads_swept", lambda: sweep_uploads(database, kept, now())))
    finally:
        await bus.stop()
        await checks.close()
        await database.close()


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[int]]) -> None:
    while True:
        try:
            if done := await work():
                log.info(name, count=done)
        except Unavailable as error:
            log.warning("sweep_postponed", sweep=name, reason=str(error))
        except Exception:
            log.exception("sweep_failed", sweep=name)
        await asyncio.sleep(seconds)

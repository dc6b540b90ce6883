"""The app service's bus process: what was announced goes out, what others announce comes in."""

from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.database import Database, Relay
from cloudphone_shared.settings import BusSettings, load

from ..opening import open_database
from .main import NAME
from .subscribers import subscribe


async def run(*, database: Database | None = None, bus: Bus | None = None) -> None:
    """Until it is cancelled. What is not given comes from the settings; all is closed at the end."""
    database = database or open_database(NAME)
    bus = bus or connect(load(BusSettings).bus_url)
    subscribe(bus, database)
    try:
        await bus.start()
        await Relay(database, bus, service=NAME).run()
    finally:
        await bus.stop()
        await database.close()

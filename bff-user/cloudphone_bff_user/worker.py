"""The user BFF's bus process: writes what happens to customers' own things into their streams."""

import asyncio

from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.bus import Bus, connect
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.settings import Auth, BusSettings, Network, Redis, load

from .live.messages import SHOWN
from .live.streams import Streams
from .live.writer import Holders, Writer
from .main import NAME

QUEUE = "bff-user.my-events"


async def run(*, bus: Bus | None = None, core: CoreClients | None = None, streams: Streams | None = None) -> None:
    """Until it is cancelled. What is not given comes from the settings; all is closed at the end."""
    bus = bus or connect(load(BusSettings).bus_url)
    core = core or _clients()
    streams = streams or Streams(load(Redis).redis_url)
    bus.subscribe_batches(QUEUE, sorted(SHOWN), Writer(streams, Holders(core)).write)
    try:
        async with core:
            await bus.start()
            await asyncio.Event().wait()
    finally:
        await bus.stop()
        await streams.close()


def _clients() -> CoreClients:
    network = load(Network)
    identity = ServiceIdentity(NAME, load(Auth).secret_of(NAME), network.url_of("user"))
    return CoreClients(network.url_of, identity)

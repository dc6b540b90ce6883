"""A consuming process: prints `ready`, then the seq of each message before it is done with it.

kinds: `plain`, `ordered`, `batches`; with `-stuck` it prints and never gets done.
"""

import asyncio
import sys

from cloudphone_shared.bus import Delivery
from cloudphone_shared.events import Envelope
from tests.servers import Server
from tests.shared.bus.worlds import Broker


class Elsewhere(Server):
    """A server that another process runs."""

    def __init__(self, url: str) -> None:
        self._url, self.scheme = url, url.partition("://")[0]  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def url(self) -> str:
        return self._url

    def command(self) -> list[str]:
        return []

    def ready(self) -> bool:
        return True


async def main(url: str, name: str, queue: str, kind: str, ack_wait: str) -> None:
    broker = Broker(Elsewhere(url))
    broker.name, broker.queue = name, queue
    broker.ack_wait = broker.lease = float(ack_wait)
    bus = broker.bus()
    stuck = kind.endswith("-stuck")

    async def take(envelope: Envelope, delivery: Delivery) -> None:
        print(envelope.seq, flush=True)
        if stuck:
            await asyncio.Event().wait()

    async def take_all(envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            print(envelope.seq, flush=True)
        if stuck:
            await asyncio.Event().wait()

    if kind.startswith("batches"):
        bus.subscribe_batches(queue, ["#"], take_all)
    else:
        bus.subscribe(queue, ["#"], take, concurrency=4, ordered=kind.startswith("ordered"))
    await bus.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))

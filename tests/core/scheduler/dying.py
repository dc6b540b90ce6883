"""Workers that die by kill -9: reads names of points from standard input, and for each runs a worker that ends there.

A point is a part of a statement before which the worker dies, or `commit` of a reservation, or `committed`: the
transaction is done, the message not acknowledged, or `published`: the relay has sent a reservation. `nowhere` is none.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import httpx
import sqlalchemy as sa

from cloudphone_core.scheduler import worker
from cloudphone_core.scheduler.models import SCHEMA
from cloudphone_core.scheduler.subscribers import subscribe
from cloudphone_shared.auth import ServiceIdentity
from cloudphone_shared.bus.nats import NatsBus
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.scheduler import AllocationReserved
from tests.core.scheduler.conftest import PATIENCE


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nobody(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody is listening", request=request)


def publishing(bus: NatsBus) -> Any:
    """What is sent is not noted down as sent."""
    publish = bus.publish

    async def and_die(envelopes: Sequence[Envelope]) -> None:
        await publish(envelopes)
        if any(each.type == AllocationReserved.type for each in envelopes):
            die()

    return and_die


def run(point: str, database_url: str, nats_url: str, name: str) -> None:
    database = Database(database_url, schema=SCHEMA, service="scheduler")
    engine = database._engine.sync_engine
    reserving: set[int] = set()

    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if point in statement:
            die()
        if "WITH counted AS" in statement:
            reserving.add(id(connection))

    def commit(connection: Any) -> None:
        if point == "commit" and id(connection) in reserving:
            die()

    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "commit", commit)
    if point == "committed":
        worker.subscribe = lambda bus, database, patience, news: subscribe(bus, database, patience, die)
    nowhere = httpx.MockTransport(nobody)
    core = CoreClients(
        lambda service: f"http://{service}.test",
        ServiceIdentity("scheduler", "secret", "http://user.test", transport=nowhere),
        transport_of=lambda service: nowhere,
    )
    bus = NatsBus(nats_url, name=name, ack_wait=1.0)
    if point == "published":
        bus.publish = publishing(bus)  # type: ignore[method-assign]
    asyncio.run(worker.run(database=database, bus=bus, core=core, patience=PATIENCE))


def main() -> None:
    for line in sys.stdin:
        # Whatever takes long to import is there already, and no thread has been started.
        child = os.fork()
        if child == 0:
            # What a worker logs is not ours to print.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            run(line.rstrip("\n"), *sys.argv[1:])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()

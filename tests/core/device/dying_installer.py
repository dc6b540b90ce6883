"""Workers that die by kill -9 while they install: `python -m tests.core.device.dying_installer`, with a database's URL,
a farm's socket, the adb server's port and a folder. For each name of a place that it reads it runs a worker that dies
there.

A place is one of the works' points, or `claimed`: nothing has been done yet, `fetching`: half of the file has come,
`sending`: not all of it is on the phone, `installing`: the phone goes on alone, `finishing`: all is written and not
committed, `finished`: it is committed. `nowhere` is none.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import sqlalchemy as sa

from cloudphone_core.device import installing
from cloudphone_core.device.adb import Adb
from cloudphone_core.device.installing import ApkCache, Installer
from cloudphone_core.device.lifecycle.converging import SETTLE
from cloudphone_core.device.lifecycle.works import WORK
from cloudphone_core.device.models import SCHEMA
from cloudphone_core.device.operations import claims
from cloudphone_core.device.operations.runner import Runner, merged
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_phone import RemoteFarm
from cloudphone_shared.database import Database
from cloudphone_shared.http.streams import Flow
from tests.core.device.living import BRISK, SETTINGS

ENDS = ("app.install.completed", "app.uninstall.completed", "app.install.failed")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody lives on after that")


class Files:
    """The app service's files, in a folder."""

    def __init__(self, folder: Path, place: str) -> None:
        self._folder, self._place = folder, place

    @asynccontextmanager
    async def fetch(self, url: str, offset: int) -> AsyncGenerator[Flow]:
        self._content = (self._folder / url).read_bytes()[offset:]
        yield cast("Flow", self)

    async def pieces(self) -> AsyncIterator[bytes]:
        half = len(self._content) // 2
        yield self._content[:half]
        if self._place == "fetching":
            die()
        yield self._content[half:]


class DyingAdb(Adb):
    place = "nowhere"

    async def push(self, *arguments: Any) -> None:
        if self.place == "sending":
            arguments = (*arguments[:4], lambda count: die())
        await super().push(*arguments)

    async def install(self, *arguments: Any, **named: Any) -> None:
        if self.place == "installing":
            going_on = asyncio.ensure_future(super().install(*arguments, **named))
            await asyncio.wait([going_on], timeout=0.05)
            die()
        await super().install(*arguments, **named)


def dies_in(place: str, database: Database) -> None:
    """Where it is neither a point nor the phone's: in what is written."""
    ending: set[int] = set()

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if any(end in str(parameters) for end in ENDS):
            ending.add(id(connection))

    def commit(connection: Any) -> None:
        if place == "finishing" and id(connection) in ending:
            die()

    sa.event.listen(database._engine.sync_engine, "before_cursor_execute", before)
    sa.event.listen(database._engine.sync_engine, "commit", commit)
    finish, begin = claims.finish, claims.begin

    async def finished(*arguments: Any) -> None:
        await finish(*arguments)
        if place == "finished":
            die()

    async def claimed(*arguments: Any) -> Any:
        if place == "claimed":
            die()
        return await begin(*arguments)

    claims.finish, claims.begin = finished, claimed


async def warm(database: Database) -> None:
    """What every worker would have to do first."""
    await claims.claim(database, [], 1.0)
    await database.close()


async def work(place: str, database: Database, socket: Path, adb_port: int, folder: Path) -> None:
    async def point(name: str) -> None:
        if name.partition(".")[2] == place:
            die()

    adb = DyingAdb(("127.0.0.1", adb_port), deadline=60)
    adb.place = place
    dies_in(place, database)
    cache = ApkCache(folder / "apks", 10**8, Files(folder, place).fetch)
    works = merged(WORK, installing.works_of(Installer(cache, look_seconds=0.05)))
    provider = SimulatedProvider(RemoteFarm(socket), boot_seconds=0.0)
    ends = merged(SETTLE, installing.SETTLE)
    await Runner(database, provider, adb, works, ends, settings=SETTINGS, pace=BRISK, points=point).run()


def main() -> None:
    url, socket, port, folder = sys.argv[1:]
    database = Database(url, schema=SCHEMA, service="device")
    asyncio.run(warm(database))
    for line in sys.stdin:
        # Whatever takes long to import is there already, and no thread has been started.
        child = os.fork()
        if child == 0:
            # What a worker logs is not ours to print.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            asyncio.run(work(line.strip(), database, Path(socket), int(port), Path(folder)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()

"""A worker that kills itself at a named point: `python -m tests.core.device.dying_worker URL SOCKET ADB-PORT POINT`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from cloudphone_core.device.adb import Adb
from cloudphone_core.device.lifecycle.converging import SETTLE
from cloudphone_core.device.lifecycle.works import WORK
from cloudphone_core.device.models import SCHEMA
from cloudphone_core.device.operations.runner import Pace, Runner
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_phone import RemoteFarm
from cloudphone_shared.database import Database
from cloudphone_shared.settings import Devices


async def work(url: str, socket: Path, adb_port: int, deadly: str) -> None:
    async def die(point: str) -> None:
        if point == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    runner = Runner(
        Database(url, schema=SCHEMA, service="device"),
        SimulatedProvider(RemoteFarm(socket), boot_seconds=0.0),
        Adb(("127.0.0.1", adb_port), deadline=60),
        WORK,
        SETTLE,
        settings=Devices(deployment_id="test"),
        pace=Pace(poll=0.05),
        points=die,
    )
    await runner.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))

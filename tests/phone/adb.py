"""The real adb, with a server of its own."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import adbutils

from tests.conditions import eventually
from tests.servers import free_port


class Done(NamedTuple):
    """`text`: output and errors."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        return (self.output + self.errors).decode()


class Adb:
    """One server, and as many commands as are asked of it."""

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self._program = adbutils.adb_path()
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            # It knows the phones it is told of, and looks for no others on this machine or its network.
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554",
            "ADB_MDNS_AUTO_CONNECT": "0",
            "ADB_MDNS": "0",
        }
        self._log = (home / "adb.log").open("wb")
        self._server = subprocess.Popen(
            [self._program, "-P", str(self.port), "nodaemon", "server"],
            env=self.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._server.poll() is None, "the adb server ended"
            time.sleep(0.02)
        raise AssertionError("the adb server did not come up")

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(10)
        self._log.close()

    async def start(self, *arguments: str, asked: bool = False) -> asyncio.subprocess.Process:
        """`asked`: something will be written to it."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(self._program, *arguments),
            env=self.environment,
            stdin=pipe if asked else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )

    async def __call__(self, *arguments: str, given: bytes | None = None, within: float = 60) -> Done:
        process = await self.start(*arguments, asked=given is not None)
        try:
            output, errors = await asyncio.wait_for(process.communicate(given), within)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return Done(process.returncode, output, errors)


class Connected:
    """The adb of one phone."""

    def __init__(self, adb: Adb, host: str, port: int) -> None:
        self._adb, self.serial = adb, f"{host}:{port}"

    async def connect(self) -> None:
        """Until it is there: a server that was disconnected may try once more by itself."""

        async def there() -> bool:
            said = await self._adb("connect", self.serial)
            return "connected to" in said.text and await self.state() == "device"

        await eventually(there, within=60)

    async def disconnect(self) -> None:
        await self._adb("disconnect", self.serial)

    async def state(self) -> str:
        """As `adb devices` shows it; empty for a phone that is not in the list."""
        lines = (await self._adb("devices")).output.decode().splitlines()
        return next((line.split("\t")[1] for line in lines if line.startswith(f"{self.serial}\t")), "")

    async def __call__(self, *arguments: str, given: bytes | None = None) -> Done:
        return await self._adb("-s", self.serial, *arguments, given=given)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await self._adb.start("-s", self.serial, *arguments)

    async def shell(self, line: str) -> str:
        """Its output; the status must be 0."""
        done = await self("shell", line)
        assert done.status == 0, (line, done)
        return done.output.decode()

    def client(self) -> adbutils.AdbDevice:
        """adbutils, for a thread."""
        return adbutils.AdbClient("127.0.0.1", self._adb.port, socket_timeout=60).device(self.serial)


@contextlib.contextmanager
def running(home: Path, port: int | None = None) -> Iterator[Adb]:
    adb = Adb(home, port)
    try:
        adb.wait()
        yield adb
    finally:
        adb.stop()

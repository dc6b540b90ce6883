"""`cloudphone phone` runs one phone alone."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.apks import TINY
from tests.phone.adb import Adb, Connected
from tests.servers import free_port

pytestmark = pytest.mark.anyio


async def started(port: int, volume: Path, *options: str) -> asyncio.subprocess.Process:
    arguments = ("phone", "--port", str(port), "--volume", str(volume), "--boot-seconds", "0", *options)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloudphone_deploy", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode()


async def test_adb_installs_into_it_and_it_remembers(adb: Adb, tmp_path: Path) -> None:
    port = free_port()
    connected = Connected(adb, "127.0.0.1", port)
    for known, ending in (("", signal.SIGKILL), ("package:org.cloudphone.tiny\n", signal.SIGTERM)):
        process = await started(port, tmp_path / "volume")
        assert await said(process) == f"A phone listens: adb connect 127.0.0.1:{port}\n"
        assert await said(process) == "It has booted.\n"
        await connected.connect()
        assert await connected.shell("pm list packages -3") == known
        assert "Success" in (await connected("install", "-r", str(TINY))).text
        process.send_signal(ending)
        assert await asyncio.wait_for(process.wait(), 60) == (0 if ending == signal.SIGTERM else -ending)
        await connected.disconnect()


async def test_a_taken_port_is_said(tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    process = await started(port, tmp_path)
    assert f"Port {port}" in await said(process)
    assert await process.wait() == 1
    server.close()

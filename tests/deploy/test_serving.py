"""`serve` runs any set of units in one process, and ends them in order and in time."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable

import httpx
import pytest

from tests.conditions import eventually
from tests.servers import free_port

pytestmark = pytest.mark.anyio


class Served:
    def __init__(self) -> None:
        self.said = ""
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, *units: str) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.deploy.standin", *units),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())

    async def says(self, words: str) -> None:
        await eventually(lambda: words in self.said)

    async def ended(self) -> int:
        assert self.process
        assert self._reading
        code = await asyncio.wait_for(self.process.wait(), 120)
        await self._reading
        return code

    async def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            self.said += line.decode()


@pytest.fixture
async def serve() -> AsyncGenerator[Callable[[], Served]]:
    all_: list[Served] = []

    def build() -> Served:
        all_.append(Served())
        return all_[-1]

    yield build
    for served in all_:
        if served.process and served.process.returncode is None:
            served.process.kill()
            await served.ended()


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
async def test_apps_and_workers_share_a_process_and_end_in_order(
    serve: Callable[[], Served], signal_: signal.Signals
) -> None:
    served, one, two = serve(), free_port(), free_port()
    await served.start(f"app={one}", f"other-app={two}", "worker", "context")
    await served.says("serving")
    async with httpx.AsyncClient(timeout=60) as client:
        for port in (one, two):
            assert (await client.get(f"http://127.0.0.1:{port}/here")).text == "/here"
    assert served.process
    served.process.send_signal(signal_)
    assert await served.ended() == 0
    said = [line for line in served.said.splitlines() if line[:3] in ("app", "wor", "con")]
    assert said[:3] == ["app startup", "app startup", "worker began"]
    assert said[3:] == ["context left", "worker ended", "app shutdown", "app shutdown"]
    assert "xperimental" not in served.said


async def test_a_request_in_flight_is_answered_before_the_end(serve: Callable[[], Served]) -> None:
    served, port = serve(), free_port()
    await served.start(f"app={port}")
    await served.says("serving")
    async with httpx.AsyncClient(timeout=60) as client:
        slow = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/slow"))
        await served.says("slow request")
        assert served.process
        served.process.terminate()
        assert (await slow).text == "/slow"
    assert await served.ended() == 0


async def test_a_taken_port_is_one_sentence(serve: Callable[[], Served]) -> None:
    first, second, port = serve(), serve(), free_port()
    await first.start(f"app={port}")
    await first.says("serving")
    await second.start(f"app={port}")
    assert await second.ended() == 1
    assert first.process
    assert f"Port {port}, wanted by app, is taken by" in second.said
    assert f"process {first.process.pid}" in second.said
    assert second.said.count("\n") == 1


async def test_a_worker_that_fails_ends_the_process(serve: Callable[[], Served]) -> None:
    served = serve()
    await served.start(f"app={free_port()}", "failing")
    assert await served.ended() == 1
    assert "boom" in served.said
    assert "failing ended by itself" in served.said
    assert "app shutdown" in served.said


async def test_an_app_that_cannot_start_ends_the_process(serve: Callable[[], Served]) -> None:
    served = serve()
    await served.start(f"failing-app={free_port()}")
    assert await served.ended() == 1
    assert "no database" in served.said
    assert "failing-app did not start" in served.said


async def test_a_worker_that_holds_on_is_cut_off(serve: Callable[[], Served]) -> None:
    served = serve()
    await served.start("holding")
    await served.says("serving")
    assert served.process
    served.process.terminate()
    assert await served.ended() == 1
    assert "holding on" in served.said
    assert "stop_cut_short" in served.said


async def test_an_unknown_name_is_answered_with_those_there_are(serve: Callable[[], Served]) -> None:
    served = serve()
    await served.start("users")
    assert await served.ended() == 1
    assert "'users'" in served.said
    assert "other-app" in served.said

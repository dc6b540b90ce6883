"""The load generator against a server that answers as it is told."""

import asyncio

import pytest

from tests.bench.load import request, run, run_paced, volley
from tests.conditions import eventually

pytestmark = pytest.mark.anyio


class Answers:
    """A server on a port of its own; `status` of its answers, `slow` seconds before each."""

    def __init__(self, status: bytes = b"200 OK", slow: float = 0.0) -> None:
        self._status = status
        self._slow = slow
        self.asked = 0
        self.port = 0

    async def __aenter__(self) -> "Answers":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(4096):
            self.asked += 1
            await asyncio.sleep(self._slow)
            detail = b"cache-status: x; hit\r\n" if head.startswith(b"GET") else b""
            writer.write(b"HTTP/1.1 %b\r\n%bContent-Length: 2\r\n\r\n" % (self._status, detail))
            # The body in a packet of its own: an answer is not complete before it has all of its length.
            await writer.drain()
            writer.write(b"{}")
        writer.close()


GET = request("GET", "/", "token")


async def test_a_volley_sends_every_request_once() -> None:
    async with Answers() as server:
        load = await volley("127.0.0.1", server.port, [GET] * 30, connections=7, within=60)
    assert (load.answers, load.refused, server.asked) == (30, 0, 30)
    assert load.details == {"x; hit": 30}


async def test_reads_and_writes_are_told_apart() -> None:
    async with Answers() as server:
        write = request("PATCH", "/", "token", body=b'{"a":1}')

        async def both_are_counted() -> bool:
            # In a tenth of a second a slow machine may answer none.
            load = await run("127.0.0.1", server.port, [GET, GET, GET, write], connections=2, seconds=0.1, warm=0)
            return 0 < load.writes < load.answers <= load.total

        await eventually(both_are_counted)


async def test_an_answer_of_another_status_is_refused() -> None:
    async with Answers(b"503 Away") as server:
        load = await volley("127.0.0.1", server.port, [GET] * 3, within=60)
    assert load.refused == 3


async def test_a_paced_load_counts_the_wait_of_what_is_due() -> None:
    async with Answers(slow=0.05) as server:

        async def waits_are_counted() -> bool:
            load = await run_paced("127.0.0.1", server.port, [GET], rate=100, connections=1, seconds=0.4, warm=0)
            return load.p50_ms > 60

        # One connection answers 20 of the 100 that are due each second: the last ones have waited for a long time.
        await eventually(waits_are_counted)

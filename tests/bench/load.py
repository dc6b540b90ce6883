"""A closed-loop load: so many connections, each sends its next request when it has its answer.

One process on one uvloop, raw sockets, requests prepared beforehand: about 7 µs of its own core per request, so that
the server is what is measured. Bounded by time; every answer's status and length is checked.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple, cast


class Load(NamedTuple):
    """Requests/s over the counted time, latencies in ms, answers that were not 200, and answers by their detail.

    `total` counts every answer, those before and after the counted time too.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    answers: int
    refused: int
    details: dict[str, int]
    total: int


class _Connection(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if self._run.over:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._run.requests))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or len(buffer) < end + 4 + _content_length(buffer, end):
            self._buffer = buffer
            return
        self._buffer = b""
        self._run.answered(buffer, end, time.perf_counter() - self._sent_at)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(expected=self._run.over)


def _content_length(buffer: bytes, end: int) -> int:
    at = buffer.find(b"content-length:", 0, end)
    if at < 0:
        at = buffer.lower().find(b"content-length:", 0, end)
        if at < 0:
            return 0
    return int(buffer[at + 15 : buffer.find(b"\r\n", at)])


class _Run:
    def __init__(self, requests: Sequence[bytes], connections: int) -> None:
        self.requests = itertools.cycle(requests)
        self.over = False
        self.counting = False
        self.latencies: list[float] = []
        self.refused = 0
        self.details: dict[str, int] = {}
        self._open = connections
        self.closed = asyncio.Event()
        self._seen = 0
        self.total = 0

    def answered(self, buffer: bytes, end: int, seconds: float) -> None:
        self.total += 1
        if not self.counting:
            return
        self.latencies.append(seconds)
        if buffer[9:12] != b"200":
            self.refused += 1
        self._seen += 1
        if self._seen % 64 == 0:
            self._note(buffer[:end])

    def _note(self, head: bytes) -> None:
        at = head.find(b"cache-status:")
        detail = head[at + 13 : head.find(b"\r\n", at)].strip().decode() if at >= 0 else "none"
        self.details[detail] = self.details.get(detail, 0) + 1

    def lost(self, *, expected: bool) -> None:
        if not expected:
            self.refused += 1
        self._open -= 1
        if not self._open:
            self.closed.set()


def get_request(path: str, token: str, host: str = "127.0.0.1", headers: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {token}\r\n{headers}\r\n"
    ).encode()


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


async def run(
    host: str, port: int, requests: Sequence[bytes], *, connections: int = 64, seconds: float = 3.0, warm: float = 0.5
) -> Load:
    """Loads `host:port` for `warm` seconds uncounted and `seconds` counted; requests are sent in turn."""
    loop = asyncio.get_running_loop()
    state = _Run(requests, connections)
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(state), host, port)
    await asyncio.sleep(warm)
    state.counting, started = True, time.perf_counter()
    await asyncio.sleep(seconds)
    state.counting, elapsed = False, time.perf_counter() - started
    state.over = True
    async with asyncio.timeout(10):
        await state.closed.wait()
    latencies = sorted(state.latencies)
    return Load(
        rps=len(latencies) / elapsed,
        p50_ms=percentile(latencies, 0.5) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        answers=len(latencies),
        refused=state.refused,
        details=state.details,
        total=state.total,
    )

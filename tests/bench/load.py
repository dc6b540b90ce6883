"""Load on raw sockets: requests prepared beforehand, about 7 µs of a core each, so that the server is what is measured.

One process on one uvloop. Three ways to send: each connection its next request when it has its answer (`run`), so many
requests a second whatever the answers do (`run_paced`), all at one moment (`volley`). All are bounded in time; every
answer's status and length is checked.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, cast

_NOTED = 64
"""One answer of so many has its Cache-Status noted."""


class Load(NamedTuple):
    """Requests/s over the counted time, latencies in ms, answers with another status, and answers by Cache-Status.

    Latencies are of GETs; those of other methods are `writes_…`, NaN without any. `total` counts every answer, those
    before and after the counted time too.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    answers: int
    refused: int
    details: dict[str, int]
    total: int
    writes: int = 0
    writes_p50_ms: float = float("nan")
    writes_p99_ms: float = float("nan")


class _Connection(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._reads = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.next()

    def next(self) -> None:
        assert self._transport is not None
        if self._run.over:
            self._transport.close()
        elif (began := self._run.began(self)) is not None:
            request = next(self._run.requests)
            self._sent_at = began
            self._reads = request.startswith(b"GET")
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or not _complete(buffer, end):
            self._buffer = buffer
            return
        self._buffer = b""
        self._run.answered(buffer, end, time.perf_counter() - self._sent_at, reads=self._reads)
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(expected=self._run.over)


def _complete(buffer: bytes, end: int) -> bool:
    if buffer.startswith(b"HTTP/1.1 304"):
        return True
    at = buffer.find(b"content-length:", 0, end)
    if at < 0:
        head = buffer[:end].lower()
        if (at := head.find(b"content-length:")) < 0:
            return b"chunked" not in head or buffer.endswith(b"0\r\n\r\n")
    return len(buffer) >= end + 4 + int(buffer[at + 15 : buffer.find(b"\r\n", at)])


class _Run:
    """`paced`: a request leaves when it is due, and its latency counts from then, sent or not."""

    def __init__(
        self,
        requests: Sequence[bytes],
        connections: int,
        *,
        status: int = 200,
        paced: bool = False,
        noted: int = _NOTED,
    ) -> None:
        self.requests = itertools.cycle(requests)
        self.over = False
        self.counting = not paced
        self.latencies: list[float] = []
        self.writes: list[float] = []
        self.refused = self.total = 0
        self.details: dict[str, int] = {}
        self.closed = asyncio.Event()
        self.due: deque[float] = deque()
        self.idle: list[_Connection] = []
        self._paced = paced
        self._noted = noted
        self._status = b"%d" % status
        self._open = connections
        self._seen = 0

    def began(self, connection: _Connection) -> float | None:
        if not self._paced:
            return time.perf_counter()
        if self.due:
            return self.due.popleft()
        self.idle.append(connection)
        return None

    def release(self, moments: Sequence[float]) -> None:
        self.due.extend(moments)
        while self.due and self.idle:
            self.idle.pop().next()

    def answered(self, buffer: bytes, end: int, seconds: float, *, reads: bool) -> None:
        self.total += 1
        if not self.counting:
            return
        (self.latencies if reads else self.writes).append(seconds)
        if buffer[9:12] != (self._status if reads else b"200"):
            self.refused += 1
        self._seen += 1
        if self._seen % self._noted == 0:
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

    async def connect(self, host: str, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), host, port)

    async def end(self) -> None:
        self.over = True
        for connection in self.idle:
            connection.next()
        async with asyncio.timeout(60):
            await self.closed.wait()

    def load(self, elapsed: float) -> Load:
        reads, writes = sorted(self.latencies), sorted(self.writes)
        return Load(
            rps=(len(reads) + len(writes)) / elapsed,
            p50_ms=percentile(reads, 0.5) * 1e3,
            p99_ms=percentile(reads, 0.99) * 1e3,
            answers=len(reads) + len(writes),
            refused=self.refused,
            details=self.details,
            total=self.total,
            writes=len(writes),
            writes_p50_ms=percentile(writes, 0.5) * 1e3,
            writes_p99_ms=percentile(writes, 0.99) * 1e3,
        )


def request(method: str, path: str, token: str, *, body: bytes = b"", headers: str = "") -> bytes:
    """As it goes over the wire; `headers` are whole lines."""
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {token}\r\n{headers}{length}\r\n"
    ).encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


async def run(
    host: str, port: int, requests: Sequence[bytes], *, connections: int = 64, seconds: float = 3.0, warm: float = 0.5,
    status: int = 200,
) -> Load:  # fmt: skip
    """Loads `host:port` for `warm` seconds uncounted and `seconds` counted; requests are sent in turn. Reads are to be
    answered with `status`."""
    state = _Run(requests, connections, status=status)
    state.counting = False
    await state.connect(host, port, connections)
    await asyncio.sleep(warm)
    state.counting, started = True, time.perf_counter()
    await asyncio.sleep(seconds)
    state.counting, elapsed = False, time.perf_counter() - started
    await state.end()
    return state.load(elapsed)


async def run_paced(
    host: str, port: int, requests: Sequence[bytes], *, rate: float, connections: int = 64, seconds: float = 3.0,
    warm: float = 0.5,
) -> Load:  # fmt: skip
    """`rate` requests/s, evenly; a latency counts from the moment the request was due, so waiting is not left out."""
    state = _Run(requests, connections, paced=True)
    await state.connect(host, port, connections)
    started = time.perf_counter()
    sent = 0
    while (now := time.perf_counter() - started) < warm + seconds:
        state.counting = now >= warm
        ready = int(now * rate)
        state.release([started + number / rate for number in range(sent, ready)])
        sent = ready
        await asyncio.sleep(0.0005)
    state.counting = False
    await state.end()
    return state.load(seconds)


async def volley(
    host: str, port: int, requests: Sequence[bytes], *, connections: int | None = None, status: int = 200,
    within: float = 10.0,
) -> Load:  # fmt: skip
    """Every request once and all at one moment, each on a connection opened before or, with fewer `connections`, in
    turn. `rps` is of the time to the last answer; after `within` seconds some answers are missing."""
    state = _Run(requests, connections or len(requests), paced=True, noted=1, status=status)
    await state.connect(host, port, connections or len(requests))
    state.counting, started = True, time.perf_counter()
    state.release([started] * len(requests))
    while state.total < len(requests) and time.perf_counter() - started < within:  # noqa: ASYNC110
        await asyncio.sleep(0.0005)
    elapsed = time.perf_counter() - started
    state.due.clear()
    await state.end()
    return state.load(elapsed)

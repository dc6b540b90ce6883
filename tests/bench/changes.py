"""How a process that serves hits bears a feed of many changes: `python -m tests.bench.changes REDIS_URL`.

The changes are written by a process of its own (`write` as the first argument) at a steady rate; the reader serves hits
of its own layer to so many callers at once, each asking again at the loop's next turn.
"""

import asyncio
import gc
import json
import socket
import statistics
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import hiredis
import msgspec
import uvloop

from cloudphone_cache import Audience, Cache, View, observed
from cloudphone_cache.feed import stream_of
from cloudphone_cache.knowledge import INCARNATION
from cloudphone_cache.redis import pack
from tests.bench.load import percentile

SERVICE = "bench"
_EVERY = 0.002
_BEAT_EVERY = 0.25


class Wide(msgspec.Struct, frozen=True, kw_only=True):
    """A view of one segment that shows as many entities as wanted."""

    shown: dict[str, int]


class Absent(Exception):
    """What the owner would say of what it does not have."""


def _view(dependencies: int) -> View[Wide]:
    view = View("bench:wide:{number}", Wide)

    @view.segment
    async def shown(core: object, number: str) -> dict[str, int]:
        versions = {f"row:{number}:{each}": INCARNATION for each in range(dependencies)}
        observed(SERVICE, versions, None)
        return dict(list(versions.items())[:50])

    @view.audience
    def audience(shown: dict[str, int]) -> Audience:
        return Audience(tenant="bench")

    return view


class _Hits:
    """Callers, and how long each hit took them, in ms, their turn's wait included."""

    def __init__(self, cache: Cache, view: View[Any], views: int, callers: int) -> None:
        self._cache, self._view = cache, view
        self._views, self._callers = views, callers
        self.taken: list[float] = []
        self._over = False

    async def during(self, seconds: float) -> list[float]:
        """Of that time, sorted."""
        self.taken, self._over = [], False
        asking = [asyncio.create_task(self._ask(number)) for number in range(self._callers)]
        await asyncio.sleep(seconds)
        self._over = True
        await asyncio.gather(*asking)
        return sorted(self.taken)

    async def _ask(self, number: int) -> None:
        while not self._over:
            number = (number + 7) % self._views
            began = time.perf_counter()
            await asyncio.sleep(0)
            await self._cache.read(self._view, {"number": number}, lambda audience: True)
            self.taken.append((time.perf_counter() - began) * 1e3)


async def changes_under_hits(
    redis_url: str,
    *,
    changes_per_second: int = 10_000,
    seconds: float = 1.0,
    rounds: int = 1,
    views: int = 500,
    dependencies: int = 4,
    callers: int = 64,
    settle: float = 1.5,
) -> dict[str, float]:
    """Medians over rounds, `seconds` each: latencies (ms) of hits alone and under changes in turn, the rise of the
    p99, and CPU per change (µs) where nothing else is done. Before them, `settle` seconds of heartbeats alone. Raises
    TimeoutError when the feed is not heard.

    What it writes to Redis is under the service `bench`.
    """
    view = _view(dependencies)
    cache = Cache(
        [view],
        None,
        redis=redis_url,
        services=[SERVICE],
        absent=(Absent,),
        refused=(Absent,),
        unavailable=(Absent,),
        freshness_key=b"bench",
        l1_bytes=2**30,
    )
    # The feed first: it begins anew, and who had heard an earlier one would take its numbers for repeats.
    async with _Writer(redis_url) as writer, cache:
        async with asyncio.timeout(30):
            while not await cache.listening(within=0.2):
                await writer.write(0, 0)
        beating = asyncio.create_task(writer.write(0, settle))
        for number in range(views):
            await cache.read(view, {"number": number}, lambda audience: True)
        hits = _Hits(cache, view, views, callers)
        gc.collect()
        gc.freeze()
        await hits.during(0.3)
        await beating
        composed = cache.counts["composed"]
        pairs = [
            (await _taken(writer, hits, 0, seconds), await _taken(writer, hits, changes_per_second, seconds))
            for _ in range(rounds)
        ]
        behind = writer.last - cache.knowledge.services[SERVICE].position
        cpu_us = await _cpu_us(cache, writer, changes_per_second, seconds)
    alone, under = (list(each) for each in zip(*pairs, strict=True))
    return {
        "changes_per_s": changes_per_second,
        "p50_ms_alone": _median(alone, 0.5),
        "p50_ms_under": _median(under, 0.5),
        "p99_ms_alone": _median(alone, 0.99),
        "p99_ms_under": _median(under, 0.99),
        "p99_rise": statistics.median(percentile(u, 0.99) / percentile(a, 0.99) for a, u in pairs) - 1,
        "hits_per_s_alone": statistics.median(len(each) for each in alone) / seconds,
        "hits_per_s_under": statistics.median(len(each) for each in under) / seconds,
        "not_yet_heard": behind,
        "composed_meanwhile": cache.counts["composed"] - composed,
        "cpu_us_per_change": cpu_us,
    }


def _median(rounds: list[list[float]], share: float) -> float:
    return statistics.median(percentile(each, share) for each in rounds)


async def _taken(writer: "_Writer", hits: _Hits, rate: int, seconds: float) -> list[float]:
    writing = asyncio.create_task(writer.write(rate, seconds + 0.2))
    await asyncio.sleep(0.1)
    taken = await hits.during(seconds)
    await writing
    return taken


async def _cpu_us(cache: Cache, writer: "_Writer", rate: int, seconds: float) -> float:
    heard = cache.knowledge.services[SERVICE]
    await asyncio.sleep(0.2)
    before, began = heard.position, time.process_time()
    last = await writer.write(rate, seconds)
    while heard.position < last:  # noqa: ASYNC110  # a few milliseconds
        await asyncio.sleep(0.01)
    return (time.process_time() - began) / (heard.position - before) * 1e6


class _Writer:
    """The process that writes the feed."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self.last = 0
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> "_Writer":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __spec__.name if __spec__ else "tests.bench.changes", "write", self._url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await self.write(0, 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def write(self, rate: int, seconds: float) -> int:
        """So many changes a second for so long, and heartbeats; says the last change's number."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{rate} {seconds}\n".encode())
        self.last = int(await self._process.stdout.readline())
        return self.last


class _Feed:
    """The writing side: raw commands, many in a write. Only for a Redis without password and TLS."""

    def __init__(self, redis_url: str) -> None:
        place = urlsplit(redis_url)
        self._socket = socket.create_connection((place.hostname or "127.0.0.1", place.port or 6379))
        self._replies = hiredis.Reader(notEnoughData=Ellipsis)
        self._stream = stream_of(SERVICE)
        self.seq = INCARNATION
        self._beaten = 0
        self._send([("DEL", self._stream)])

    def write(self, rate: int, seconds: float) -> None:
        began = beaten = time.perf_counter()
        self._beat()
        written = 0
        while (now := time.perf_counter()) - began < seconds:
            due = int((now - began) * rate) - written
            self._send([self._change() for _ in range(due)])
            written += due
            if now - beaten > _BEAT_EVERY:
                beaten = now
                self._beat()
            time.sleep(_EVERY)
        self._send([self._change() for _ in range(int(rate * seconds) - written)])
        self._beat()

    def _change(self) -> tuple[str | int, ...]:
        self.seq += 1
        return ("XADD", self._stream, f"{self.seq}-0", f"device:{self.seq % 100_000:036}", self.seq)

    def _beat(self) -> None:
        self._beaten = max(self._beaten + 1, int(time.time() * 1000))
        self._send([("XADD", self._stream, f"{self.seq}-{self._beaten}", "t", self._beaten)])

    def _send(self, commands: list[tuple[str | int, ...]]) -> None:
        self._socket.sendall(b"".join(pack(*command) for command in commands))
        for _ in commands:
            while (reply := self._replies.gets()) is Ellipsis:
                self._replies.feed(self._socket.recv(2**16))
            if isinstance(reply, Exception):
                raise reply


def write(redis_url: str) -> None:
    feed = _Feed(redis_url)
    for line in sys.stdin:
        rate, seconds = line.split()
        feed.write(int(rate), float(seconds))
        print(feed.seq, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        print(json.dumps(uvloop.run(changes_under_hits(sys.argv[1], rounds=5)), indent=2))

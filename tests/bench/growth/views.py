"""More and more views in Redis: what a hit costs, and what a view takes."""

import asyncio
import random
import statistics

import psutil

from tests.bench.figures import Figures, Row
from tests.bench.load import Load, request, run
from tests.bench.scenarios.hits import VIEW, ready
from tests.bench.stand import CONNECTIONS, BenchServer, Stand, cpu_seconds

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
_BATCH = 5_000
_REQUESTS = 20_000
_BYTES_EACH = 4_500
"""At most, with Redis' own bookkeeping."""

_PUT = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  local key = string.format('device:full:%08x-0000-7000-8000-000000000000', number)
  redis.call('SET', key, ARGV[4 + number % (#ARGV - 3)], 'PX', ARGV[3])
end
"""
_DROP = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  redis.call('UNLINK', string.format('device:full:%08x-0000-7000-8000-000000000000', number))
end
"""


async def views(stand: Stand, figures: Figures) -> None:
    """1e3 to 1e6 views in Redis, each a real entry under a key of its own: cost of an L2 hit, and memory."""
    figures.growth["views"] = []
    async with stand.bff("l2") as bff:
        await ready(stand, bff)
        put = 0
        try:
            for count in COUNTS[: stand.effort.less(len(COUNTS), 2)]:
                if psutil.virtual_memory().available < count * _BYTES_EACH:
                    print(f"  {count:,} views are left out: they take more memory than is free", flush=True)
                    break
                before, more, put = await _used(stand), count - put, count
                await _put(stand, bff, count)
                row: Row = {"views": count, "redis_bytes_per_view": round((await _used(stand) - before) / more)}
                figures.growth["views"].append({**row, **await _costs(stand, bff, count)})
        finally:
            for start in range(0, put, _BATCH):
                await stand.redis("EVAL", _DROP, 0, start, min(put, start + _BATCH))


async def _put(stand: Stand, bff: BenchServer, count: int) -> None:
    """The entries of real screens, just composed, over and over under other keys: as proven as the originals."""
    originals = stand.devices[:20]
    await stand.forget(*(f"device:full:{device}" for device in originals))
    await stand.fill(bff.url + VIEW, [f"/{device}" for device in originals])
    entries = [await stand.redis("GET", f"device:full:{device}") for device in originals]
    for start in range(0, count, _BATCH):
        await stand.redis("EVAL", _PUT, 0, start, min(count, start + _BATCH), 3_600_000, *entries)


async def _costs(stand: Stand, bff: BenchServer, count: int) -> Row:
    evenly = _requests(stand, [random.randrange(count) for _ in range(_REQUESTS)])
    loads: list[Load] = []
    server_us: list[float] = []
    redis_us: list[float] = []
    for _ in range(stand.effort.less(3, 1)):
        server, redis = cpu_seconds(bff), cpu_seconds(stand.valkey)
        load = await _load(stand, bff, evenly)
        loads.append(load)
        server_us.append((cpu_seconds(bff) - server) / load.total * 1e6)
        redis_us.append((cpu_seconds(stand.valkey) - redis) / load.total * 1e6)
        if load.refused:
            raise RuntimeError(f"{load.refused} of {load.answers} answers were not 200")
    return {
        "rps": round(statistics.median(load.rps for load in loads)),
        "rps_min": round(min(load.rps for load in loads)),
        "rps_max": round(max(load.rps for load in loads)),
        "p50_ms": round(statistics.median(load.p50_ms for load in loads), 2),
        "p99_ms": round(statistics.median(load.p99_ms for load in loads), 2),
        "server_cpu_us": round(statistics.median(server_us)),
        "redis_cpu_us": round(statistics.median(redis_us)),
    }


async def _load(stand: Stand, bff: BenchServer, requests: list[bytes]) -> Load:
    return await run(
        "127.0.0.1", bff.bench_port, requests, connections=CONNECTIONS, seconds=stand.effort.seconds, warm=0.3
    )


def _requests(stand: Stand, numbers: list[int]) -> list[bytes]:
    tokens = stand.tokens
    return [
        request("GET", f"{VIEW}/{number:08x}-0000-7000-8000-000000000000", tokens[at % len(tokens)])
        for at, number in enumerate(numbers)
    ]


async def _used(stand: Stand) -> int:
    await asyncio.sleep(0.2)  # what was unlinked is given back behind the scenes
    info: bytes = await stand.redis("INFO", "memory")
    return int(next(line for line in info.splitlines() if line.startswith(b"used_memory:")).partition(b":")[2])

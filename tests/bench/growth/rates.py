"""More and more changes a second: what hearing them costs a reader, and what its callers notice."""

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudphone_cache.feed import stream_of
from cloudphone_shared.clients import SERVICES
from tests.bench.changes import SERVICE, changes_under_hits
from tests.bench.figures import Figures
from tests.bench.load import run_paced
from tests.bench.scenarios.hits import ready
from tests.bench.stand import BenchServer, Stand, cpu_seconds

RATES = (0, 1, 10, 100, 1_000, 10_000)
HITS_PER_S = 1_000


async def rates(stand: Stand, figures: Figures) -> None:
    """0 to 10,000 changes/s of devices that no view shows, while 1,000 hits/s are answered from L1."""
    chosen = RATES if not stand.effort.quick else (0, 1_000, 10_000)
    p50: dict[int, list[float]] = {rate: [] for rate in chosen}
    p99: dict[int, list[float]] = {rate: [] for rate in chosen}
    cpu: dict[int, list[float]] = {rate: [] for rate in chosen}
    async with _feeding(stand) as feeding, stand.bff("l1") as bff:
        assert feeding.stdin
        requests = await ready(stand, bff)
        await run_paced("127.0.0.1", bff.bench_port, requests, rate=HITS_PER_S, seconds=1)
        for number in range(stand.effort.less(3, 1)):
            for rate in chosen if number % 2 == 0 else reversed(chosen):
                feeding.stdin.write(b"%d\n" % rate)
                await asyncio.sleep(0.3)
                cpu[rate].append(await _idle_share(bff))
                load = await run_paced(
                    "127.0.0.1", bff.bench_port, requests, rate=HITS_PER_S, seconds=stand.effort.seconds
                )
                if load.refused:
                    raise RuntimeError(f"{load.refused} of {load.answers} answers were not 200")
                p50[rate].append(load.p50_ms)
                p99[rate].append(load.p99_ms)
    figures.growth["rates"] = [
        {
            "changes_per_s": rate,
            "reader_cpu_percent": round(100 * statistics.median(cpu[rate]), 1),
            "p50_ms": round(statistics.median(p50[rate]), 2),
            "p99_ms": round(statistics.median(p99[rate]), 2),
            "p99_min_ms": round(min(p99[rate]), 2),
            "p99_max_ms": round(max(p99[rate]), 2),
        }
        for rate in chosen
    ]
    for quiet, busy in zip(p99[0], p99[chosen[-1]], strict=True):
        figures.add("p99_without_changes_ms", quiet, "ms, at 1,000 hits/s")
        figures.add("p99_at_10000_changes_ms", busy, "ms, at 1,000 hits/s")
    await _without_http(stand, figures)


async def _without_http(stand: Stand, figures: Figures) -> None:
    """The same in one process: 64 callers of the cache itself, who never pause."""
    for _ in range(stand.effort.less(3, 1)):
        found = await changes_under_hits(stand.valkey.url, seconds=stand.effort.seconds)
        figures.add("in_process_p99_alone_ms", found["p99_ms_alone"], "ms")
        figures.add("in_process_p99_at_10000_changes_ms", found["p99_ms_under"], "ms")
        figures.add("cpu_us_per_change", found["cpu_us_per_change"], "µs of a reader's CPU")
    await stand.redis("DEL", stream_of(SERVICE))


async def _idle_share(bff: BenchServer) -> float:
    """CPU seconds per second of a reader that nobody asks anything."""
    before, loop = cpu_seconds(bff), asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(1)
    return (cpu_seconds(bff) - before) / (loop.time() - began)


@asynccontextmanager
async def _feeding(stand: Stand) -> AsyncIterator[asyncio.subprocess.Process]:
    """The only one who appends: workers and cache worker stand still meanwhile, and begin anew afterwards."""
    usual = [stand.platform.processes[name] for name in ("workers", "cache-worker")]
    for process in usual:
        await asyncio.to_thread(process.stop)
    feeding = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.feeding", str(stand.valkey.port), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **stand.platform.environment},
    )  # fmt: skip
    try:
        assert feeding.stdout
        if await feeding.stdout.readline() != b"feeding\n":
            raise RuntimeError("the feed could not be taken over")
        yield feeding
    finally:
        if feeding.returncode is None:
            feeding.kill()
        await feeding.wait()
        # Its numbers are none of the services': streams and views that know of them go.
        await stand.redis("DEL", *(stream_of(service) for service in SERVICES))
        await stand.forget("device:*", "user:*")
        for process in usual:
            await asyncio.to_thread(process.start)

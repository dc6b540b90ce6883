"""More and more changes a second: what hearing them costs a reader, and what its callers notice."""

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cloudphone_cache.feed import stream_of
from cloudphone_shared.clients import SERVICES
from tests.bench.changes import SERVICE, changes_under_hits
from tests.bench.feeding import UNHEARD
from tests.bench.figures import Figures, Row
from tests.bench.load import Load, run_paced
from tests.bench.scenarios.hits import ready
from tests.bench.stand import BenchServer, Stand, cpu_seconds

RATES = (0, 1, 10, 100, 1_000, 10_000)
HITS_PER_S = 1_000
_OWNER = "device"
Feed = tuple[int, str]
"""So many changes a second, of a service."""


async def rates(stand: Stand, figures: Figures) -> None:
    """0 to 10,000 changes/s of devices that no view shows, while 1,000 hits/s are answered from L1."""
    chosen = RATES if not stand.effort.quick else (0, 1_000, 10_000)
    most, silent, unheard = (chosen[-1], _OWNER), (0, _OWNER), (chosen[-1], UNHEARD)
    feeds: list[Feed] = [*((rate, _OWNER) for rate in chosen), unheard]
    loads: dict[Feed, list[Load]] = {feed: [] for feed in feeds}
    cpu: dict[Feed, list[float]] = {feed: [] for feed in feeds}
    async with _feeding(stand) as feeding, stand.bff("l1") as bff:
        assert feeding.stdin
        requests = await ready(stand, bff)
        await run_paced("127.0.0.1", bff.bench_port, requests, rate=HITS_PER_S, seconds=1)
        for number in range(stand.effort.less(3, 1)):
            for feed in feeds if number % 2 == 0 else reversed(feeds):
                feeding.stdin.write(b"%d %b\n" % (feed[0], feed[1].encode()))
                await asyncio.sleep(0.3)
                cpu[feed].append(await _idle_share(bff))
                load = await run_paced(
                    "127.0.0.1", bff.bench_port, requests, rate=HITS_PER_S, seconds=stand.effort.seconds
                )
                if load.refused:
                    raise RuntimeError(f"{load.refused} of {load.answers} answers were not 200")
                loads[feed].append(load)
    figures.growth["rates"] = [_row(rate, loads[rate, _OWNER], cpu[rate, _OWNER]) for rate in chosen]
    for name, feed in (("without", silent), ("beside_10000", unheard), ("at_10000", most)):
        for load in loads[feed]:
            figures.add(f"p99_{name}_changes_ms", load.p99_ms, "ms, at 1,000 hits/s")
    await _without_http(stand, figures)


def _row(rate: int, loads: Sequence[Load], cpu: Sequence[float]) -> Row:
    p99 = [load.p99_ms for load in loads]
    return {
        "changes_per_s": rate,
        "reader_cpu_percent": round(100 * statistics.median(cpu), 1),
        "p50_ms": round(statistics.median(load.p50_ms for load in loads), 2),
        "p99_ms": round(statistics.median(p99), 2),
        "p99_min_ms": round(min(p99), 2),
        "p99_max_ms": round(max(p99), 2),
    }


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
        await stand.redis("DEL", *(stream_of(service) for service in (*SERVICES, UNHEARD)))
        await stand.forget("device:*", "user:*")
        for process in usual:
            await asyncio.to_thread(process.start)

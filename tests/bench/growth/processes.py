"""More and more BFF processes on the same cores."""

import asyncio
import os
import statistics
from contextlib import AsyncExitStack

from tests.bench.figures import Figures
from tests.bench.load import Load, run
from tests.bench.scenarios.hits import ready
from tests.bench.stand import CONNECTIONS, Stand, cpu_seconds

MOST = 4


async def processes(stand: Stand, figures: Figures) -> None:
    """L1 hits of 1 to 4 BFF processes at once, the connections shared out among them."""
    found: dict[int, list[tuple[list[Load], float]]] = {count: [] for count in range(1, MOST + 1)}
    async with AsyncExitStack() as stack:
        bffs = [await stack.enter_async_context(stand.bff("l1")) for _ in range(MOST)]
        several = [await ready(stand, bff) for bff in bffs]
        for _ in range(stand.effort.less(3, 1)):
            for count, rounds in found.items():
                before = cpu_seconds(*bffs)
                loads = await asyncio.gather(
                    *(
                        run(
                            "127.0.0.1", bff.bench_port, several[number][number * 97 :],
                            connections=CONNECTIONS // count, seconds=stand.effort.seconds, warm=0.3,
                        )
                        for number, bff in enumerate(bffs[:count])
                    )
                )  # fmt: skip
                rounds.append((loads, (cpu_seconds(*bffs) - before) / sum(load.total for load in loads) * 1e6))
    figures.growth["processes"] = [
        {
            "processes": count,
            "cores": os.cpu_count() or 0,
            "rps": round(statistics.median(sum(load.rps for load in loads) for loads, _ in rounds)),
            "rps_min": round(min(sum(load.rps for load in loads) for loads, _ in rounds)),
            "rps_max": round(max(sum(load.rps for load in loads) for loads, _ in rounds)),
            "p50_ms": round(statistics.median(load.p50_ms for loads, _ in rounds for load in loads), 2),
            "p99_ms": round(statistics.median(load.p99_ms for loads, _ in rounds for load in loads), 2),
            "server_cpu_us": round(statistics.median(cpu for _, cpu in rounds)),
        }
        for count, rounds in found.items()
    ]

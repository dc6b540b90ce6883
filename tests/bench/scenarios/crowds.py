"""Many at once: a crowd before one cold view, and readers among writers."""

import json

import aiohttp

from tests.bench.figures import Figures
from tests.bench.load import request, run, volley
from tests.bench.scenarios.hits import ready
from tests.bench.scenarios.misses import slowest_path
from tests.bench.stand import CONNECTIONS, BenchServer, Stand, cpu_seconds

WRITES_EVERY = 20


async def stampede(stand: Stand, figures: Figures) -> None:
    """64 callers want one cold view at the same moment: until the last has it, and how often it was composed."""
    await stand.forget("device:full:*")
    devices = stand.devices[: stand.effort.less(40, 10)]
    async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:
        for device in devices:
            figures.add("stampede_slowest_path_ms", await slowest_path(stand, http, device), "ms")
            before = await _composed(stand, http, bff)
            asked = [request("GET", f"/admin/devices/{device}", token) for token in stand.tokens[:CONNECTIONS]]
            load = await volley("127.0.0.1", bff.bench_port, asked)
            if load.answers != len(asked) or load.refused:
                raise RuntimeError(f"of {len(asked)} callers {load.answers} were answered, {load.refused} refused")
            figures.add("stampede_last_ms", len(asked) / load.rps * 1e3, "ms")
            figures.add("stampede_p50_ms", load.p50_ms, "ms")
            figures.add("stampede_compositions", await _composed(stand, http, bff) - before, "per 64 callers")


async def _composed(stand: Stand, http: aiohttp.ClientSession, bff: BenchServer) -> float:
    async with http.get(f"{bff.url}/admin/cache", headers={"Authorization": f"Bearer {stand.tokens[0]}"}) as answer:
        return (await answer.json())["counters"]["composed"]


async def mixed(stand: Stand, figures: Figures) -> None:
    """95 reads of device screens to 5 renames of the same devices, beside the reads alone, in alternated rounds."""
    devices = stand.devices
    writer = stand.staff["Authorization"].removeprefix("Bearer ")
    async with stand.bff("l1") as bff:
        reads = await ready(stand, bff)
        both = [
            _rename(devices[number // WRITES_EVERY % len(devices)], number, writer)
            if number % WRITES_EVERY == 0
            else read
            for number, read in enumerate(reads)
        ]
        for _ in range(stand.effort.less(3, 1)):
            for name, requests in (("mixed_reads_alone", reads), ("mixed", both)):
                await _round(figures, bff, name, requests, stand.effort.seconds)


def _rename(device: str, number: int, token: str) -> bytes:
    return request("PATCH", f"/admin/devices/{device}", token, body=json.dumps({"name": f"Mixed {number}"}).encode())


async def _round(figures: Figures, bff: BenchServer, name: str, requests: list[bytes], seconds: float) -> None:
    before = cpu_seconds(bff)
    load = await run("127.0.0.1", bff.bench_port, requests, connections=16, seconds=seconds, warm=0.5)
    figures.add(f"{name}_rps", load.rps, "requests/s")
    figures.add(f"{name}_cpu_us", (cpu_seconds(bff) - before) / load.total * 1e6, "µs of the server's CPU")
    figures.add(f"{name}_p50_ms", load.p50_ms, "ms")
    figures.add(f"{name}_p99_ms", load.p99_ms, "ms")
    figures.add(f"{name}_refused_share", load.refused / max(1, load.answers), "of answers")
    hit = sum(count for detail, count in load.details.items() if "hit" in detail)
    figures.add(f"{name}_hit_share", hit / max(1, sum(load.details.values()) - load.details.get("none", 0)), "of reads")
    if load.writes:
        figures.add(f"{name}_writes_per_s", load.rps * load.writes / load.answers, "writes/s")
        figures.add(f"{name}_writes_p50_ms", load.writes_p50_ms, "ms")

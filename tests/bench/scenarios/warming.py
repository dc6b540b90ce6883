"""The warm-up as it runs every five minutes, on a cache that holds no view."""

import asyncio
import time
from typing import Any

import aiohttp

from tests.bench.figures import Figures
from tests.bench.stand import Stand, cpu_seconds


async def warmup(stand: Stand, figures: Figures) -> None:
    """The real job, one BFF process filling: views/s from its start to its end, and the CPU it takes on both sides."""
    for _ in range(stand.effort.less(3, 1)):
        await stand.forget("device:*", "user:*", "order:*", "dashboard*")
        async with stand.bff("l1", usual_port=True) as bff:
            server_side = (*stand.platform.processes.values(), stand.postgres, stand.valkey)
            before, services_before = cpu_seconds(bff), cpu_seconds(*server_side)
            run = await _run(bff.url, stand.staff)
            used, services_used = cpu_seconds(bff) - before, cpu_seconds(*server_side) - services_before
        if run["failed"] or run["filled"] < 100:
            raise RuntimeError(f"the warm-up went wrong: {run}")
        figures.add("warmup_views_per_s", run["filled"] / (run["durationMs"] / 1e3), "views/s")
        figures.add("warmup_views_per_core_s", run["filled"] / used, "views per CPU second of the filling process")
        figures.add("warmup_bff_cpu_ms_per_view", used / run["filled"] * 1e3, "ms of the filling process's CPU")
        figures.add(
            "warmup_services_cpu_ms_per_view", services_used / run["filled"] * 1e3, "ms of everybody else's CPU"
        )
        figures.add("warmup_views", run["filled"], "views")


async def _run(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Starts a warm-up by hand and waits until it has ended."""
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{url}/admin/warmups/runs") as answer:
            run = await answer.json()
        ends = time.monotonic() + 60
        while run.get("state") in ("queued", "running") and time.monotonic() < ends:
            await asyncio.sleep(0.1)
            async with http.get(f"{url}/admin/warmups/runs/{run['id']}") as answer:
                run = await answer.json()
    # Partial: the user BFF is not there to plan. Views that failed are counted.
    if run.get("state") not in ("succeeded", "partial"):
        raise RuntimeError(f"the warm-up did not succeed: {run}")
    return run


async def stored(stand: Stand, figures: Figures) -> None:
    """What a view takes in Redis beside its body: key, header and Redis' own bookkeeping."""
    devices = stand.devices[: stand.effort.less(150, 30)]
    await stand.forget("device:full:*")
    async with stand.bff("l2") as bff:
        headers = await stand.fill(bff.url, [f"/admin/devices/{device}" for device in devices])
    for device, header in zip(devices, headers, strict=True):
        key, body = f"device:full:{device}", int(header["Content-Length"])
        figures.add("overhead_bytes_per_view", await stand.redis("MEMORY", "USAGE", key, "SAMPLES", 0) - body, "bytes")
        figures.add("stored_bytes_per_view", await stand.redis("STRLEN", key), "bytes")
        figures.add("body_bytes_per_view", body, "bytes")

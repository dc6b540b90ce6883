"""One cold view after the other, each beside the slowest path of the services it is composed from."""

import asyncio
import statistics
import time
from collections.abc import Sequence

import aiohttp

from tests.bench.figures import Figures
from tests.bench.stand import BenchServer, Stand


async def misses(stand: Stand, figures: Figures) -> None:
    """Miss at concurrency 1 beside the slowest path: device then owner, apps, usage, all at once."""
    devices = stand.devices[: stand.effort.less(150, 30)]
    await stand.forget("device:full:*")
    async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:
        timings = [await _one(stand, http, bff, device, number) for number, device in enumerate(devices)]
    size = max(1, len(devices) // 5)
    for start in range(size, len(devices), size):
        some = timings[start : start + size]
        figures.add("miss_p50_ms", statistics.median(missed for missed, _ in some), "ms")
        figures.add("slowest_path_p50_ms", statistics.median(slowest for _, slowest in some), "ms")
        figures.add("miss_over_slowest_path_ms", statistics.median(missed - slowest for missed, slowest in some), "ms")


async def _one(
    stand: Stand, http: aiohttp.ClientSession, bff: BenchServer, device: str, number: int
) -> tuple[float, float]:
    """Milliseconds of the miss, and of the slowest path; which comes first alternates."""
    if number % 2:
        slowest = await slowest_path(stand, http, device)
        return await cold(stand, http, bff, device), slowest
    took = await cold(stand, http, bff, device)
    return took, await slowest_path(stand, http, device)


async def cold(stand: Stand, http: aiohttp.ClientSession, bff: BenchServer, device: str) -> float:
    """Milliseconds. Raises RuntimeError for an answer that was there already."""
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {stand.tokens[0]}"}
    async with http.get(f"{bff.url}/admin/devices/{device}", headers=headers) as answer:
        await answer.read()
    took = (time.perf_counter() - began) * 1e3
    if answer.status != 200 or "fwd=miss" not in answer.headers["Cache-Status"]:
        raise RuntimeError(f"no miss: {answer.status} {answer.headers.get('Cache-Status')}")
    return took


async def slowest_path(stand: Stand, http: aiohttp.ClientSession, device: str) -> float:
    """Milliseconds until the last of a view's services has answered, asked as early as can be."""

    async def device_then_owner() -> None:
        owner = (await stand.ask(http, "device", f"/v1/devices/{device}"))["ownerId"]
        await stand.ask(http, "user", f"/v1/users/{owner}")

    began = time.perf_counter()
    await asyncio.gather(
        device_then_owner(),
        stand.ask(http, "app", f"/v1/devices/{device}/installations"),
        stand.ask(http, "billing", f"/v1/devices/{device}/usage"),
    )
    return (time.perf_counter() - began) * 1e3


async def lists(stand: Stand, figures: Figures) -> None:
    """A list of 50 at concurrency 1, its cards cached and cold, beside its page of ids and the batches it needs."""
    repeats = stand.effort.less(40, 10)
    async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:

        async def page() -> float:
            began = time.perf_counter()
            async with http.get(f"{bff.url}/admin/devices?limit=50&assigned=true", headers=stand.staff) as answer:
                body = await answer.json()
            if answer.status != 200 or len(body["items"]) != 50:
                raise RuntimeError(f"no list of 50: {answer.status} {str(body)[:300]}")
            return (time.perf_counter() - began) * 1e3

        await page()
        for _ in range(5):
            figures.add("list50_p50_ms", statistics.median([await page() for _ in range(repeats)]), "ms")
            ids, batches = zip(*[await _list_directly(stand, http) for _ in range(repeats)], strict=True)
            figures.add("list50_page_of_ids_p50_ms", statistics.median(ids), "ms")
            figures.add("list50_batches_p50_ms", statistics.median(batches), "ms")
    for _ in range(stand.effort.less(5, 2)):
        await stand.forget("device:card:*")
        async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:
            # Another list first, so that connections are open; its cards are others.
            async with http.get(f"{bff.url}/admin/devices?limit=5&assigned=false", headers=stand.staff) as answer:
                await answer.read()
            figures.add("list50_cold_ms", await page(), "ms")


async def _list_directly(stand: Stand, http: aiohttp.ClientSession) -> tuple[float, float]:
    """Milliseconds for the page of ids alone, and for the page with both of its batches, one after the other."""
    began = time.perf_counter()
    page = await stand.ask(http, "device", "/v1/devices", {"limit": "50", "assigned": "true"})
    ids = time.perf_counter()
    found = (await stand.ask(http, "device", "/v1/devices/batch", {"ids": _joined(page["items"])}))["found"]
    owners = dict.fromkeys(item["data"]["ownerId"] for item in found.values())
    await stand.ask(http, "user", "/v1/users/batch", {"ids": _joined(list(owners))})
    return (ids - began) * 1e3, (time.perf_counter() - began) * 1e3


def _joined(ids: Sequence[str]) -> str:
    return ",".join(ids)

"""What is seen after a rename, through the product and its peers: how soon, and whether at all."""

import asyncio
import time
from collections.abc import Mapping

import aiohttp

from tests.bench.figures import Figures
from tests.bench.scenarios.changes import commit_times, rename
from tests.bench.stand import Stand

PATIENCE = 3.0
"""Seconds after which what is still old counts as stale."""


async def renames(stand: Stand, figures: Figures, urls: Mapping[str, str]) -> None:
    """Devices renamed, then owners, while everybody's screen of them is read over and over."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {stand.tokens[0]}"}) as http:
        for device in stand.devices[: stand.effort.less(15, 4)]:
            seen = await _seen(stand, http, urls, device, ("device", f"/v1/devices/{device}", f"device:{device}"))
            for name, ms in seen.items():
                if ms is not None:
                    figures.add(f"{name}_device_seen_ms", ms, "ms after the commit")
                figures.add(f"{name}_old_device", float(ms is None), f"of renames not seen after {PATIENCE:g} s")
        for device in stand.devices[-stand.effort.less(4, 1) :]:
            owner = (await stand.ask(http, "device", f"/v1/devices/{device}"))["ownerId"]
            seen = await _seen(stand, http, urls, device, ("identity", f"/v1/users/{owner}", f"user:{owner}"))
            for name, ms in seen.items():
                figures.add(f"{name}_old_owner", float(ms is None), f"of renames not seen after {PATIENCE:g} s")


async def _seen(
    stand: Stand, http: aiohttp.ClientSession, urls: Mapping[str, str], device: str, target: tuple[str, str, str]
) -> dict[str, float | None]:
    """Milliseconds from the commit until each shows the new name; None for who does not."""
    schema, path, entity = target
    new = f"Renamed {time.time_ns()}"
    wanted = new.encode()

    async def look(url: str) -> bytes:
        async with http.get(f"{url}/{device}") as answer:
            return await answer.read()

    async def until_seen(url: str) -> int | None:
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if wanted in await look(url):
                return time.time_ns()
            await asyncio.sleep(0.002)
        return None

    await asyncio.gather(*(look(url) for url in urls.values()))
    looking = [asyncio.create_task(until_seen(url)) for url in urls.values()]
    await rename(stand, http, "device" if schema == "device" else "user", path, new)
    moments = await asyncio.gather(*looking)
    committed = max((await commit_times(stand, [entity], schema)).values())
    return {name: None if at is None else (at - committed) / 1e6 for name, at in zip(urls, moments, strict=True)}

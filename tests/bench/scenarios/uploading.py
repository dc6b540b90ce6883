"""2 GB on their way into the store: how much more memory the app service holds meanwhile, and how fast it is."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp

from tests.bench.figures import Figures
from tests.bench.stand import Stand
from tests.conditions import eventually

_TUS = {"Tus-Resumable": "1.0.0"}
_OCTETS = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
_PIECE = bytes(65_536)
_RESIDENT = "process_resident_memory_bytes "


async def uploads(stand: Stand, figures: Figures) -> None:
    """One request, until the file has been put together and read (and refused: it holds nothing but zeros)."""
    size = stand.effort.less(2 << 30, 32 << 20)
    service = stand.platform.url("app")
    async with aiohttp.ClientSession(headers=stand.staff) as http:
        await _sent(http, service, 32 << 20)
        before, most = await _resident(http, service), [0.0]
        watching = asyncio.create_task(_watch(http, service, most))
        began = time.perf_counter()
        await _sent(http, service, size)
        took = time.perf_counter() - began
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    figures.add("upload_memory_mib", (most[0] - before) / 2**20, "MiB")
    figures.add("upload_mib_per_s", size / 2**20 / took, "MiB/s")


async def _sent(http: aiohttp.ClientSession, service: str, size: int) -> None:
    made = await http.post(f"{service}/v1/uploads", headers={**_TUS, "Upload-Length": str(size)})
    made.raise_for_status()
    place = f"{service}{made.headers['Location']}"
    forever = aiohttp.ClientTimeout(total=None)
    (await http.patch(place, data=_zeros(size), headers={**_TUS, **_OCTETS}, timeout=forever)).raise_for_status()

    async def checked() -> bool:
        return (await (await http.get(place)).json())["data"]["state"] == "refused"

    await eventually(checked, within=600.0, every=0.1)
    (await http.delete(place, headers=_TUS)).raise_for_status()


async def _zeros(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(_PIECE)):
        yield _PIECE


async def _watch(http: aiohttp.ClientSession, service: str, most: list[float]) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            most[0] = max(most[0], await _resident(http, service))
        await asyncio.sleep(0.1)


async def _resident(http: aiohttp.ClientSession, service: str) -> float:
    """Bytes of memory that the app service's process holds."""
    async with http.get(f"{service}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(_RESIDENT)).removeprefix(_RESIDENT))

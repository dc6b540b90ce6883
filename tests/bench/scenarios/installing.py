"""Asking for an installation: from the request to its 202, through the admin BFF; the work itself comes later."""

import time
from pathlib import Path

import aiohttp

from tests.bench.figures import Figures
from tests.bench.load import percentile
from tests.bench.stand import Stand

_TUS = {"Tus-Resumable": "1.0.0"}
_APK = Path(__file__).parents[2] / "data" / "tiny.apk"


async def installs(stand: Stand, figures: Figures) -> None:
    """An installation asked for on device after device, and beside it, as another write, each device renamed."""
    async with stand.bff("l1") as bff, aiohttp.ClientSession(headers=stand.staff) as http:
        version = await _uploaded(stand, http)
        asked, renamed = list[float](), list[float]()
        for device in stand.devices:
            wanted = {"deviceId": device, "appVersionId": version}
            asked.append(await _ms(http, "POST", f"{bff.url}/admin/installations", wanted))
            name = {"name": f"Renamed {time.time_ns()}"}
            renamed.append(await _ms(http, "PATCH", f"{bff.url}/admin/devices/{device}", name))
    for name, found in (("install_request", sorted(asked)), ("rename_request", sorted(renamed))):
        figures.add(f"{name}_p50_ms", percentile(found, 0.5), "ms")
        figures.add(f"{name}_p99_ms", percentile(found, 0.99), "ms")


async def _uploaded(stand: Stand, http: aiohttp.ClientSession) -> str:
    """The id of a version that can be installed."""
    content, service = _APK.read_bytes(), stand.platform.url("app")
    made = await http.post(f"{service}/v1/uploads", headers={**_TUS, "Upload-Length": str(len(content))})
    made.raise_for_status()
    place = f"{service}{made.headers['Location']}"
    sent = {**_TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    (await http.patch(place, data=content, headers=sent)).raise_for_status()
    published = await http.post(f"{place}/publish", json={})
    published.raise_for_status()
    return (await published.json())["data"]["id"]


async def _ms(http: aiohttp.ClientSession, method: str, url: str, body: dict[str, str]) -> float:
    began = time.perf_counter()
    async with http.request(method, url, json=body) as answer:
        told = await answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {url} answered {answer.status}: {told[:300]!r}")
    return 1000 * (time.perf_counter() - began)

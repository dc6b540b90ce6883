"""An APK on its way into the store, as a seller's tool sends it."""

from collections.abc import Mapping
from typing import Any

import httpx

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}


async def publish_apk(
    http: httpx.AsyncClient, content: bytes, who: Mapping[str, str] | None = None, *, url: str = "", **wanted: object
) -> dict[str, Any]:
    """The version that was made of it; `url` is the app service's, unless it is the client's own."""
    headers = {**(who or {}), **TUS}
    made = await http.post(f"{url}/v1/uploads", headers={**headers, "Upload-Length": str(len(content))})
    assert made.status_code == 201, made.text
    place = url + made.headers["location"]
    sent = await http.patch(place, headers={**headers, **OCTETS, "Upload-Offset": "0"}, content=content)
    assert sent.headers["upload-state"] == "ready", sent.headers
    version = await http.post(f"{place}/publish", headers=headers, json=wanted)
    assert version.status_code == 201, version.text
    return version.json()["data"]

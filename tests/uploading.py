"""An APK on its way into the store, as a seller's tool sends it."""

from collections.abc import Mapping
from typing import Any

import httpx

from tests.conditions import eventually

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}


async def publish_apk(
    http: httpx.AsyncClient,
    content: bytes,
    who: Mapping[str, str] | None = None,
    *,
    url: str = "",
    under: str = "/v1",
    **wanted: object,
) -> dict[str, Any]:
    """The version that was made of it; `url` is the app service's, unless it is the client's own. `under` is `/admin`
    at bff-admin."""
    headers = {**(who or {}), **TUS}
    made = await http.post(f"{url}{under}/uploads", headers={**headers, "Upload-Length": str(len(content))})
    assert made.status_code == 201, made.text
    place = url + made.headers["location"]
    sent = await http.patch(place, headers={**headers, **OCTETS, "Upload-Offset": "0"}, content=content)
    assert sent.status_code == 204, sent.text

    async def checked() -> str | None:
        looked = await http.head(place, headers=headers)
        return looked.headers["upload-state"] if looked.headers["upload-state"] != "checking" else None

    assert await eventually(checked) == "ready"
    version = await http.post(f"{place}/publish", headers=headers, json=wanted)
    assert version.status_code == 201, version.text
    answer = version.json()
    return answer["data"] if under == "/v1" else answer

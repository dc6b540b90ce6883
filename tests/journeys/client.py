"""A caller of the platform: signed in, remembering the freshness token of its last write as a browser does."""

from typing import Any

import httpx

from tests.platform import Platform


class Person:
    """One demo account at one BFF. `read` and `write` may name another process of the same BFF."""

    def __init__(self, platform: Platform, bff: str, role: str, tenant: str | None = None) -> None:
        self.platform = platform
        self.account = platform.account(role, tenant)
        self.http = httpx.AsyncClient(base_url=platform.url(bff), timeout=15)
        self.http.headers["Authorization"] = f"Bearer {platform.login(bff, role, tenant)}"
        self.fresh_after: str | None = None

    async def __aenter__(self) -> "Person":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def write(self, method: str, path: str, body: object = None, *, at: str = "", **headers: str) -> Any:
        """The answer's JSON; keeps its Fresh-After. Raises for anything but success."""
        answer = await self.http.request(method, at + path, json=body, headers=headers)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        self.fresh_after = answer.headers.get("Fresh-After", self.fresh_after)
        return answer.json() if answer.content else None

    async def read(self, path: str, *, at: str = "", carry: bool = True) -> httpx.Response:
        """With the freshness token unless `carry` is off."""
        headers = {"Fresh-After": self.fresh_after} if carry and self.fresh_after else {}
        self.http.cookies.clear()
        return await self.http.get(at + path, headers=headers)

    async def json(self, path: str, *, at: str = "", carry: bool = True) -> Any:
        answer = await self.read(path, at=at, carry=carry)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

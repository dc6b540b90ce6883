"""Callers of the platform: signed in, remembering the freshness token of their last write as a browser does."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import anyio
import httpx

from tests.platform import ASKED_AT_MOST, Platform

PASSWORD = "correct horse battery"


_TLS = httpx.create_ssl_context()
"""Of nobody's use here, but whoever is given none makes one of his own, which takes longer than most requests."""


class AskedAgain(httpx.AsyncHTTPTransport):
    """Does what a 503 asks for, as callers do."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(ASKED_AT_MOST - 1):
            answer = await super().handle_async_request(request)
            if answer.status_code != 503:
                return answer
            await answer.aclose()
            await anyio.sleep(0.2)
        return await super().handle_async_request(request)


class Person:
    """One account at one BFF. `at` names another process of the same BFF."""

    def __init__(
        self, platform: Platform, bff: str, token: str, *, email: str = "", ids: Mapping[str, str] = {}
    ) -> None:
        self.platform = platform
        self.email = email
        self.ids = ids
        """Of a new customer: `user` and `device`."""
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(
            base_url=platform.url(bff), timeout=120, transport=AskedAgain(verify=_TLS, limits=limits)
        )
        self.http.headers["Authorization"] = f"Bearer {token}"
        self.fresh_after: str | None = None

    async def __aenter__(self) -> Any:
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

    async def ask(self, service: str, method: str, path: str, body: object = None) -> Any:
        """A core service's own answer to this caller: its data."""
        answer = await self.http.request(method, self.platform.url(service) + path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"] if answer.content else None


class Staff(Person):
    """A demo account of staff at bff-admin; by default the administrator of all tenants."""

    def __init__(self, platform: Platform, role: str = "admin", tenant: str | None = None) -> None:
        account = platform.account(role, tenant)
        super().__init__(platform, "bff-admin", platform.login("bff-admin", role, tenant), email=account["email"])

    async def new_user(self, name: str = "Ana", role: str = "customer", **fields: object) -> dict[str, Any]:
        """An account of the caller's tenant, with the password PASSWORD."""
        body = {"name": name, "email": f"{uuid4().hex}@journeys.example", "password": PASSWORD, "role": role}
        return await self.write("POST", "/admin/users", {**body, **fields})

    async def give(self, user_id: str, amount: int, currency: str = "USD") -> None:
        """Money for a wallet, in minor units."""
        gift = {"amount": amount, "currency": currency, "reason": "for the journey"}
        await self.ask("billing", "POST", f"/v1/users/{user_id}/adjustments", gift)

    async def new_device(self, name: str = "Phone", owner: str | None = None) -> dict[str, Any]:
        template = (await self.json("/admin/templates", carry=False))["items"][0]["id"]
        device = await self.write("POST", "/admin/devices", {"name": name, "templateId": template})
        if owner is None:
            return device
        return await self.write("POST", f"/admin/devices/{device['id']}/assign", {"ownerId": owner})

    async def new_customer(self, name: str = "Ana") -> Person:
        """A new account with a device, signed in at bff-user."""
        user = await self.new_user(name)
        device = await self.new_device(owner=user["id"])
        token = self.platform.sign_in("bff-user", user["email"], PASSWORD)["accessToken"]
        return Person(
            self.platform, "bff-user", token, email=user["email"], ids={"user": user["id"], "device": device["id"]}
        )

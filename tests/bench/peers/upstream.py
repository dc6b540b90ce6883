"""What both Python peers share: the services asked through one aiohttp pool, tokens, and news from the bus."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import jwt
import nats

SHOWN_NOT = ("ownerName", "ownerEmail")
TTL_SECONDS = 300
LIMIT_PER_SECOND = 1000


class Upstream:
    """`loads` parses a service's answer. The services' token is fetched once; it outlives the benchmark."""

    def __init__(self, loads: Callable[[bytes], Any]) -> None:
        self._loads = loads
        self._urls = {name: os.environ[f"PEER_{name.upper()}_URL"] for name in ("user", "device", "app", "billing")}
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        credentials = {"clientId": os.environ["PEER_CLIENT"], "clientSecret": os.environ["PEER_SECRET"]}
        url = self._urls["user"] + "/v1/service-tokens"
        async with aiohttp.ClientSession() as http, http.post(url, json=credentials) as answer:
            token = (await answer.json())["accessToken"]
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"}, connector=aiohttp.TCPConnector(limit=64)
        )

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def device_full(self, device_id: str) -> dict[str, Any] | None:
        """The screen's four parts, asked at once where they can be; None without such a device."""
        device_and_owner, applications, usage = await asyncio.gather(
            self._device_and_owner(device_id),
            self._ask("app", f"/v1/devices/{device_id}/installations"),
            self._ask("billing", f"/v1/devices/{device_id}/usage"),
        )
        if device_and_owner is None:
            return None
        device, owner = device_and_owner
        return {"device": device, "owner": owner, "applications": applications, "usage": usage}

    async def _device_and_owner(self, device_id: str) -> tuple[Any, Any] | None:
        device = await self._ask("device", f"/v1/devices/{device_id}")
        if device is None:
            return None
        for name in SHOWN_NOT:
            del device[name]
        return device, device["ownerId"] and await self._ask("user", f"/v1/users/{device['ownerId']}")

    async def _ask(self, service: str, path: str) -> Any:
        assert self._http is not None
        async with self._http.get(self._urls[service] + path) as answer:
            body = await answer.read()
            if answer.status == 404:
                return None
            answer.raise_for_status()
            return self._loads(body)["data"]


class Tokens:
    """Signature, issuer and expiry checked at a token's first use; afterwards it is remembered until it expires."""

    def __init__(self) -> None:
        self._key = jwt.PyJWK(json.loads(os.environ["PEER_JWK"])).key
        self._known: dict[str, tuple[str, float]] = {}

    def caller(self, authorization: str) -> str | None:
        known = self._known.get(authorization)
        if known is not None and known[1] > time.time():
            return known[0]
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "), self._key, algorithms=["EdDSA"], issuer="cloudphone"
            )
        except jwt.PyJWTError:
            return None
        if len(self._known) > 50_000:
            self._known.clear()
        self._known[authorization] = claims["sub"], claims["exp"]
        return claims["sub"]


async def on_change(forget: Callable[[str], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """`forget` is called with the id of each device whose own row, apps or use changed. An owner's change waits for the
    time to live: nothing here knows which screens show whom. Returns what ends it."""
    connection = await nats.connect(os.environ["PEER_NATS_URL"])

    async def hear(message: Any) -> None:
        for entity in json.loads(message.data).get("entities", ()):
            kind, _, key = entity.partition(":")
            if kind in ("device", "installations", "usage"):
                await forget(key)

    await connection.subscribe("cloudphone.events.>", cb=hear)
    return connection.close

"""A shop of a test's own: a plan that asks for devices of a template of its own, and customers with money to spend."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from cloudphone_shared.auth import ServiceIdentity
from tests.conditions import eventually
from tests.journeys.client import PASSWORD, Person, Staff
from tests.platform import Platform

_untyped: Any = asyncpg
LIVE = ("reserved", "active")


class Shop:
    """`devices` of a new template stand on a new node that nobody but `beat` reports of."""

    def __init__(self, platform: Platform, admin: Staff) -> None:
        self.platform, self.admin = platform, admin
        self.plan = ""
        self.template = ""
        self._node = ""
        self._bearer: dict[str, str] = {}

    async def open(self, *, devices: int, price: int, **terms: object) -> "Shop":
        admin, name = self.admin, uuid4().hex
        hardware = {"androidVersion": "14", "cpuCores": 4, "memoryMib": 4096, "storageGib": 32}
        self.template = (await admin.ask("device", "POST", "/v1/templates", {"name": name, **hardware}))["id"]
        fields = {"name": f"n {name}", "region": "eu", "capacity": 50}
        self._node = (await admin.ask("device", "POST", "/v1/nodes", fields))["id"]
        wanted = {"templateId": self.template, "nodeId": self._node}
        for number in range(devices):
            await admin.ask("device", "POST", "/v1/devices", {"name": f"Free {number}", **wanted})
        plan = {"name": f"Plan {name}", "price": price, "templateId": self.template, **terms}
        self.plan = (await admin.ask("billing", "POST", "/v1/plans", plan))["id"]
        secret = json.loads(self.platform.environment["CLOUDPHONE_SERVICE_CLIENTS"])["device"]
        identity = ServiceIdentity("device", secret, self.platform.url("user"))
        self._bearer = {"Authorization": f"Bearer {await identity.token()}"}
        await identity.close()
        await eventually(self.beat)
        return self

    async def beat(self) -> bool:
        """The node says that it lives."""
        report = {"cpuLoad": 0.1, "memoryUsed": 1, "memoryTotal": 2, "storageUsed": 1, "storageTotal": 2}
        place = f"{self.platform.url('scheduler')}/v1/nodes/{self._node}/heartbeat"
        async with httpx.AsyncClient() as http:
            answer = await http.post(place, json={**report, "devicesRunning": 0}, headers=self._bearer)
        return answer.is_success

    @asynccontextmanager
    async def customer(self, *, money: int = 0) -> AsyncGenerator["Customer"]:
        """With `money` in the wallet, given by hand: at most what one person may give."""
        user = await self.admin.new_user()
        if money:
            gift = {"amount": money, "currency": "USD", "reason": "to spend"}
            await self.admin.ask("billing", "POST", f"/v1/users/{user['id']}/adjustments", gift)
        token = self.platform.sign_in("bff-user", user["email"], PASSWORD)["accessToken"]
        async with Customer(self, token, user) as person:
            yield person

    async def their_time_is_up(self, user_id: str) -> None:
        """Whoever waits in the scheduler's queue has waited as long as he may."""
        databases = self.platform.databases
        connection = await _untyped.connect(
            databases.get("CLOUDPHONE_SCHEDULER_DATABASE_URL", databases["CLOUDPHONE_CORE_DATABASE_URL"])
        )
        over = "UPDATE scheduler.requests SET deadline_at = clock_timestamp() WHERE user_id = $1 AND state = 'queued'"
        await connection.execute(over, user_id)
        await connection.close()


class Customer(Person):
    def __init__(self, shop: Shop, token: str, user: dict[str, Any]) -> None:
        super().__init__(shop.platform, "bff-user", token, email=user["email"], ids={"user": user["id"]})
        self.shop = shop

    async def buy(self, **fields: object) -> httpx.Response:
        """Asked again under the same key until it is answered, as who is told to come back does: a machine that is
        too busy for a hundred at once turns some away."""
        key = {"Idempotency-Key": uuid4().hex}
        answered: httpx.Response | None = None

        async def is_answered() -> bool:
            nonlocal answered
            answered = await self.http.post("/my/orders", json={"planId": self.shop.plan, **fields}, headers=key)
            return answered.status_code != 503 and "request-in-flight" not in answered.text

        await eventually(is_answered, within=150, every=1.0)
        assert answered is not None
        return answered

    async def buy_at_once(self, times: int) -> Counter[str]:
        """How often each was the answer: the order's state, or the refusal's code."""
        answers = await asyncio.gather(*(self.buy() for _ in range(times)))
        return Counter(answer.json()["state"] if answer.is_success else answer.json()["code"] for answer in answers)

    async def orders(self, state: str) -> int:
        """How many are in it, of a hundred at most."""
        place = f"/v1/orders?userId={self.ids['user']}&state={state}&limit=100"
        return len((await self.shop.admin.ask("billing", "GET", place))["items"])

    async def wallet(self) -> tuple[int, int]:
        """What is available, and what is held."""
        balance = await self.shop.admin.ask("billing", "GET", f"/v1/users/{self.ids['user']}/balance")
        return (balance["available"], balance["held"]) if balance else (0, 0)

    async def quota_used(self) -> int:
        [quota] = await self.shop.admin.ask("user", "GET", f"/v1/users/{self.ids['user']}/quotas")
        return quota["used"]

    async def devices_held(self) -> list[str]:
        """By live allocations."""
        held: list[str] = []
        for state in LIVE:
            place = f"/v1/allocations?userId={self.ids['user']}&state={state}&limit=100"
            page = await self.shop.admin.ask("scheduler", "GET", place)
            held += [allocation["deviceId"] for allocation in page["items"]]
        return held

    async def open_sagas(self) -> int:
        count = 0
        for state in ("running", "waiting", "compensating"):
            page = await self.shop.admin.ask(
                "billing", "GET", f"/v1/sagas?userId={self.ids['user']}&state={state}&limit=100"
            )
            count += len(page["items"])
        return count

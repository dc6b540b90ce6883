"""What is written to and read from: customers with devices and orders, and plans, made through the platform itself."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from cloudphone_deploy.errors import CommandError

from .connection import Line, request
from .oracle import name_of, request_id_of

CUSTOMERS = 6
DEVICES_EACH = 4
PLANS = 3
PASSWORD = "checked and checked again"  # noqa: S105
HOT_CUSTOMERS, HOT_DEVICES_EACH, HOT_PLANS = 1, 2, 1
"""The first of each are changed most of the time."""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """An entity whose name is changed. `path` is its resource at the service."""

    code: str
    id: str
    service: str
    path: str
    hot: bool


class Account:
    """One who reads. `token` is renewed while the checker runs."""

    def __init__(self, email: str, password: str) -> None:
        self.email = email
        self.password = password
        self.token = ""
        self.expires_in = 600

    async def sign_in(self, line: Line) -> None:
        """Raises OSError without an answer, CommandError when refused."""
        credentials = {"email": self.email, "password": self.password}
        reply = await line.ask(request("POST", "/auth/login", body=credentials))
        if reply.status >= 500:
            raise ConnectionError(f"signing in was answered with {reply.status}")
        tokens = _checked(reply.status, reply.body, f"{self.email} signs in")
        self.token, self.expires_in = tokens["accessToken"], tokens["expiresIn"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Not changed itself; shows what it is for."""

    id: str
    device: Thing
    plan: Thing


class Customer(Account):
    """`user` is the account itself."""

    def __init__(self, email: str, password: str, user: Thing) -> None:
        super().__init__(email, password)
        self.user = user
        self.devices: list[Thing] = []
        self.orders: list[Order] = []


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """`customers` sign in at the user BFF, `administrator` at the admin BFF."""

    tenant: str
    administrator: Account
    customers: list[Customer]
    things: list[Thing]

    def of_kind(self, letter: str) -> list[Thing]:
        return [thing for thing in self.things if thing.code[0] == letter]


class Stage:
    """Makes a scene through one process of each BFF. Raises CommandError when the platform refuses."""

    def __init__(self, bff_admin: str, bff_user: str, credentials: tuple[str, str]) -> None:
        self._admin, self._user = Line(bff_admin), Line(bff_user)
        self._administrator = Account(*credentials)
        self._numbers = dict.fromkeys("udp", 0)
        self._key = f"{time.time_ns():x}"

    async def make(self) -> Scene:
        try:
            await self._administrator.sign_in(self._admin)
            return await self._make()
        except (OSError, TimeoutError) as error:
            raise CommandError(f"The platform gave no answer while it was prepared ({error!r}).") from error
        finally:
            self._admin.close()
            self._user.close()

    async def _make(self) -> Scene:
        tenant = (await self._post("/admin/tenants", {"name": "Checked", "slug": f"checked-{self._key}"}))["id"]
        template = (await self._get("/admin/templates"))["items"][0]["id"]
        plans = [await self._thing("p", "/admin/plans", {"price": 0}, hot=place < HOT_PLANS) for place in range(PLANS)]
        customers = [await self._customer(tenant, hot=place < HOT_CUSTOMERS) for place in range(CUSTOMERS)]
        things = [*plans]
        for customer in customers:
            for place in range(DEVICES_EACH):
                hot = customer.user.hot and place < HOT_DEVICES_EACH
                customer.devices.append(await self._device(tenant, template, customer.user, hot=hot))
            things += [customer.user, *customer.devices]
            await self._order(customer, plans)
        return Scene(tenant=tenant, administrator=self._administrator, customers=customers, things=things)

    async def _customer(self, tenant: str, *, hot: bool) -> Customer:
        email = f"checked-{self._numbers['u']}-{self._key}@checker.example"
        body = {"tenantId": tenant, "email": email, "password": PASSWORD, "role": "customer"}
        customer = Customer(email, PASSWORD, await self._thing("u", "/admin/users", body, hot=hot))
        await customer.sign_in(self._user)
        return customer

    async def _device(self, tenant: str, template: str, owner: Thing, *, hot: bool) -> Thing:
        device = await self._thing("d", "/admin/devices", {"tenantId": tenant, "templateId": template}, hot=hot)
        await self._post(f"/admin/devices/{device.id}/assign", {"ownerId": owner.id})
        return device

    async def _order(self, customer: Customer, plans: Sequence[Thing]) -> None:
        for device, plan in zip(customer.devices, plans, strict=False):
            body = {"planId": plan.id, "userId": customer.user.id, "deviceId": device.id}
            made = await self._post("/admin/orders", body)
            customer.orders.append(Order(id=made["id"], device=device, plan=plan))

    async def _thing(self, letter: str, path: str, body: dict[str, Any], *, hot: bool) -> Thing:
        number = self._numbers[letter]
        self._numbers[letter] += 1
        code = f"{letter}{number}"
        made = await self._post(path, {"name": name_of(code, 0), **body}, request_id_of(code, 0))
        service = {"u": "user", "d": "device", "p": "billing"}[letter]
        at = {"u": "/v1/users/", "d": "/v1/devices/", "p": "/v1/plans/"}[letter] + made["id"]
        return Thing(code=code, id=made["id"], service=service, path=at, hot=hot)

    async def _post(self, path: str, body: object, request_id: str = "") -> Any:
        named = {"X_Request_Id": request_id} if request_id else {}
        content = request("POST", path, self._administrator.token, body, **named)
        return await self._asked(content, f"POST {path}")

    async def _get(self, path: str) -> Any:
        return await self._asked(request("GET", path, self._administrator.token), f"GET {path}")

    async def _asked(self, content: bytes, what: str) -> Any:
        async with asyncio.timeout(20):
            reply = await self._admin.ask(content)
        return _checked(reply.status, reply.body, what)


def _checked(status: int, body: bytes, what: str) -> Any:
    if not 200 <= status < 300:
        raise CommandError(f"The platform refused ({what}): {status} {body.decode(errors='replace')[:300]}")
    return msgspec.json.decode(body) if body else None

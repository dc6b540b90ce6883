"""The core services and their relays in this process, on real databases: what the BFFs' tests stand on.

Each announced change goes from its relay straight into the change feed, as the cache worker writes it; there is no
broker between.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from argon2 import PasswordHasher

from cloudphone_cache.feed import Appender
from cloudphone_cache.platform import main as warmups
from cloudphone_cache.platform.worker import Owners, Writer
from cloudphone_cache.redis import parse, patient_client
from cloudphone_core.app import main as app_service
from cloudphone_core.app.storage import Storage
from cloudphone_core.billing import main as billing_service
from cloudphone_core.device import main as device_service
from cloudphone_core.user import main as user_service
from cloudphone_core.user.installation import create_first_administrator
from cloudphone_core.user.passwords import Passwords
from cloudphone_deploy.lifespan import started
from cloudphone_shared.auth import JWKS_PATH, ServiceIdentity, TokenVerifier
from cloudphone_shared.bus import Bus
from cloudphone_shared.clients import SERVICES, CoreClients
from cloudphone_shared.database import SCHEMAS, Database, Relay, migrate
from cloudphone_shared.events.envelope import Envelope
from cloudphone_shared.http.client import ServiceClient
from cloudphone_shared.settings import Auth, Secret
from tests.apks import apk
from tests.servers import Postgres, Valkey
from tests.uploading import publish_apk

PASSWORD = "correct horse battery"
CLIENTS = ("bff-admin", "bff-user", "cache-worker", "operations", *SERVICES)
KEYS = {
    "CLOUDPHONE_FRESHNESS_KEY": "f" * 32,
    "CLOUDPHONE_CURSOR_KEY": "c" * 32,
    "CLOUDPHONE_SERVICE_CLIENTS": ";".join(f"{name}=secret of {name}" for name in CLIENTS),
    "CLOUDPHONE_RATE_LIMITS": "100000/s,1000000/min",
    "CLOUDPHONE_LOGIN_RATE_LIMITS": "100000/min",
}
AUTH = Auth(
    access_token_seconds=86_400,
    freshness_key=Secret("f" * 32),
    cursor_key=Secret("c" * 32),
    service_clients={name: Secret(f"secret of {name}") for name in CLIENTS},
)


class Wire(httpx.AsyncBaseTransport):
    """The way to a service; `cut` it, and the service is away. `calls` counts the requests that arrived."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)
        self.cut = False
        self.calls = 0
        self.seconds = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("nobody is listening", request=request)
        self.calls += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return await self._inner.handle_async_request(request)


class Straight:
    """A bus without a broker: what a relay publishes is in the feed when it is confirmed, and with `also`, if set."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.also: Bus | None = None
        self.held = asyncio.Event()
        self.held.set()

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        await self.held.wait()
        if self.also:
            await self.also.publish(envelopes)
        await self._writer.write(list(envelopes))


class Services:
    """`wires` by service name; `root` are the headers of an administrator who sees all tenants."""

    def __init__(self) -> None:
        self.wires: dict[str, Wire] = {}
        self.databases: dict[str, Database] = {}
        self.bus: Straight
        self.root: dict[str, str] = {}
        self.tenant_id = ""

    def transport_of(self, service: str) -> httpx.AsyncBaseTransport | None:
        return self.wires.get(service)

    def calls(self) -> int:
        return sum(wire.calls for wire in self.wires.values())

    def identity(self, name: str) -> ServiceIdentity:
        return ServiceIdentity(name, f"secret of {name}", "http://user.test", transport=self.wires["user"])

    def clients(self, name: str) -> CoreClients:
        return CoreClients(url_of, self.identity(name), transport_of=self.transport_of)

    def verifier(self) -> TokenVerifier:
        return TokenVerifier("http://user.test" + JWKS_PATH, transport=self.wires["user"])

    async def ask(
        self, method: str, service: str, path: str, body: object = None, by: dict[str, str] | None = None
    ) -> Any:
        """What a service answers to `root`, or whoever: its data. Fails on a refusal."""
        async with httpx.AsyncClient(transport=self.wires[service], base_url=url_of(service)) as http:
            answer = await http.request(method, path, json=body, headers=by or self.root)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    async def signed_in(self, email: str) -> dict[str, str]:
        tokens = await self.ask(
            "POST", "user", "/v1/auth/login", {"email": email, "password": PASSWORD}, {"X-None": ""}
        )
        return {"Authorization": "Bearer " + tokens["accessToken"]}

    async def tenant(self, name: str = "Acme") -> str:
        made = await self.ask("POST", "user", "/v1/tenants", {"name": name, "slug": f"t-{uuid.uuid4().hex[:12]}"})
        return made["id"]

    async def user(self, name: str = "Ana", *, tenant: str | None = None, role: str = "customer") -> dict[str, Any]:
        body = {
            "name": name, "email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "role": role,
            "tenantId": tenant or self.tenant_id,
        }  # fmt: skip
        return await self.ask("POST", "user", "/v1/users", body)

    async def member(self, role: str, *, tenant: str | None = None) -> dict[str, str]:
        """The headers of a new account, signed in."""
        return await self.signed_in((await self.user(role.title(), tenant=tenant, role=role))["email"])

    async def template(self) -> dict[str, Any]:
        wanted = {"androidVersion": "14", "cpuCores": 4, "memoryMib": 4096, "storageGib": 32}
        return await self.ask("POST", "device", "/v1/templates", {"name": f"t {uuid.uuid4().hex}", **wanted})

    async def device(
        self,
        name: str = "Phone",
        *,
        owner: dict[str, Any] | None = None,
        tenant: str | None = None,
        template: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        template = template or await self.template()
        tenant = tenant or (owner["tenantId"] if owner else self.tenant_id)
        device = await self.ask(
            "POST", "device", "/v1/devices", {"name": name, "templateId": template["id"], "tenantId": tenant}
        )
        if owner is None:
            return device
        return await self.ask("POST", "device", f"/v1/devices/{device['id']}/assign", {"ownerId": owner["id"]})

    async def plan(self, **fields: object) -> dict[str, Any]:
        return await self.ask("POST", "billing", "/v1/plans", {"name": "Basic", "price": 1999, **fields})

    async def order(self, user: dict[str, Any], **fields: object) -> dict[str, Any]:
        """Of a plan that costs nothing."""
        plan = await self.plan(price=0)
        return await self.ask("POST", "billing", "/v1/orders", {"planId": plan["id"], "userId": user["id"], **fields})

    async def installed(self, device: dict[str, Any]) -> dict[str, Any]:
        """An installation of a new app on the device."""
        content = apk(f"com.example.a{uuid.uuid4().hex[:8]}", label="Chess")
        async with httpx.AsyncClient(transport=self.wires["app"], base_url=url_of("app")) as http:
            version = await publish_apk(http, content, self.root)
        return await self.ask(
            "POST", "app", "/v1/installations", {"deviceId": device["id"], "appVersionId": version["id"]}
        )


def url_of(service: str) -> str:
    return f"http://{service}.test"


@asynccontextmanager
async def fresh_services(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Services]:
    """On databases of their own, and a Redis that has been emptied."""
    client = patient_client(parse(valkey.url), read_timeout=60.0)
    await client.flushall()
    await client.aclose()
    urls = {service: await postgres.database() for service in SERVICES}
    async with running_services(urls, valkey.url) as services:
        yield services


@asynccontextmanager
async def running_services(urls: dict[str, str], redis_url: str) -> AsyncIterator[Services]:
    """`urls` of an empty database per service."""
    services = Services()
    async with AsyncExitStack() as stack:
        for service in SERVICES:
            await migrate(urls[service], service)
            services.databases[service] = Database(urls[service], schema=SCHEMAS[service], service=service, pool_size=8)
        for service in SERVICES:
            app = _app(service, services)
            await stack.enter_async_context(started(app))
            services.wires[service] = Wire(app)
        worker = warmups.create_app(
            database=await _warmups(urls["user"]), verifier=services.verifier(), cursor_key="c" * 32
        )
        await stack.enter_async_context(started(worker))
        services.wires["cache-worker"] = Wire(worker)
        await _found(services)
        services.bus = await stack.enter_async_context(_announcing(services, redis_url))
        yield services


async def _warmups(url: str) -> Database:
    """The cache worker's tables stand beside another's, as in production."""
    await migrate(url, "cache")
    return Database(url, schema="warmup", service="cache", pool_size=2)


def _app(service: str, services: Services) -> Any:
    database = services.databases[service]
    if service == "user":
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=256, parallelism=1))
        return user_service.create_app(database=database, auth=AUTH, passwords=cheap, body_limit_bytes=1_000_000)
    main = {"device": device_service, "app": app_service, "billing": billing_service}[service]
    own: dict[str, Any] = {"storage": Storage("memory:///")} if service == "app" else {}
    return main.create_app(
        database=database, verifier=services.verifier(), core=services.clients(service),
        cursor_key="c" * 32, body_limit_bytes=1_000_000, **own,
    )  # fmt: skip


async def _found(services: Services) -> None:
    cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=256, parallelism=1))
    root = await create_first_administrator(
        services.databases["user"], name="Root", email="root@example.com", password=PASSWORD, tenant="acme",
        passwords=cheap,
    )  # fmt: skip
    services.tenant_id = str(root.tenant_id)
    services.root = await services.signed_in("root@example.com")


@asynccontextmanager
async def _announcing(services: Services, redis_url: str) -> AsyncIterator[Straight]:
    """Every service's relay, and the feed that they write."""
    worker = services.identity("cache-worker")
    asking = {
        service: ServiceClient(service, url_of(service), bearer=worker.token, transport=services.wires[service])
        for service in SERVICES
    }
    owners = Owners(asking)
    appender = Appender(parse(redis_url), owners.changes)
    bus = Straight(Writer(appender, SERVICES))
    relays = [
        asyncio.create_task(Relay(database, bus, service=service, heartbeat_seconds=0.1).run())
        for service, database in services.databases.items()
    ]
    try:
        yield bus
    finally:
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
        await appender.close()
        await owners.close()
        await worker.close()

"""A device service over a real PostgreSQL; only the user service is played."""

import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from cloudphone_core.device.adb import Adb
from cloudphone_core.device.main import create_app
from cloudphone_core.device.models import SCHEMA
from cloudphone_shared import entities
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.user import Tenant, User
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.errors import NotFound, encode_problem
from cloudphone_shared.ids import uuid7
from tests.core.device.phones import adb_port, phones
from tests.servers import Postgres
from tests.signing import Signer, client_of

__all__ = ["adb_port", "phones"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Users:
    """The user service as device asks it: users and tenants by its contracts."""

    def __init__(self) -> None:
        self.known: dict[str, User] = {}
        self.tenants: dict[str, Tenant] = {}
        self.away = False
        self.transport = httpx.MockTransport(self._answer)

    def tenant(self) -> UUID:
        tenant_id = uuid7()
        self.tenants[str(tenant_id)] = Tenant(id=tenant_id, name="Acme", slug=f"t{tenant_id.hex[:12]}", created_at=NOW)
        return tenant_id

    def user(self, tenant_id: UUID, name: str = "Ana", *, version: int = 10**12 + 1, **fields: Any) -> User:
        user_id = fields.pop("id", None) or uuid7()
        user = User(
            id=user_id,
            tenant_id=tenant_id,
            tenant_name="Acme",
            name=name,
            email=f"{name.lower()}@example.com",
            role="customer",
            data_scope="self",
            status=fields.pop("status", "active"),
            created_at=NOW,
            updated_at=NOW,
            version=version,
        )
        self.known[str(user_id)] = user
        return user

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody is listening", request=request)
        if request.url.path.startswith("/v1/tenants/"):
            tenant_id = request.url.path.removeprefix("/v1/tenants/")
            if tenant := self.tenants.get(tenant_id):
                answer = Answer(data=tenant, entities={entities.tenant(tenant_id): 1})
                return httpx.Response(200, content=msgspec.json.encode(answer))
            problem = NotFound(entities={entities.tenant(tenant_id): 0}).problem()
            return httpx.Response(404, content=encode_problem(problem))
        user_id = request.url.path.removeprefix("/v1/users/")
        if user := self.known.get(user_id):
            answer = Answer(data=user, entities={entities.user(user_id): user.version})
            return httpx.Response(200, content=msgspec.json.encode(answer))
        problem = NotFound(entities={entities.user(user_id): 0}).problem()
        return httpx.Response(404, content=encode_problem(problem))


class World:
    """Makes things the way callers do, over HTTP. `admin` sees all tenants."""

    def __init__(self, http: httpx.AsyncClient, signer: Signer, users: Users, database: Database) -> None:
        self.http, self.signer, self.users, self.database = http, signer, users, database
        self.tenant = users.tenant()
        self.admin = signer.headers(role="admin", tenant=self.tenant)
        self.operator = signer.headers(role="operator", tenant=self.tenant)
        self.service = signer.service("bff-admin")

    def customer(self, user: User) -> dict[str, str]:
        return self.signer.headers(role="customer", id=user.id, tenant=user.tenant_id)

    async def ask(
        self, method: str, path: str, body: object = None, *, by: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        """`headers` in the manner of `if_match="…"`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else msgspec.json.encode(body)
        return await self.http.request(
            method,
            path,
            content=content,
            headers={"Content-Type": "application/json", **(by or self.admin), **more},
        )

    async def made(self, path: str, body: object, *, by: dict[str, str] | None = None) -> dict[str, Any]:
        answer = await self.ask("POST", path, body, by=by)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["data"]

    async def template(self) -> dict[str, Any]:
        wanted = {"androidVersion": "14", "cpuCores": 4, "memoryMib": 4096, "storageGib": 32}
        return await self.made("/v1/templates", {"name": f"template {uuid.uuid4().hex}", **wanted})

    async def node(self, **fields: object) -> dict[str, Any]:
        return await self.made(
            "/v1/nodes", {"name": f"node {uuid.uuid4().hex}", "region": "eu", "capacity": 100, **fields}
        )

    async def device(
        self,
        name: str = "Phone",
        *,
        owner: User | None = None,
        tenant: UUID | None = None,
        node: dict[str, Any] | None = None,
        tags: Sequence[str] = (),
    ) -> dict[str, Any]:
        wanted = {
            "name": name,
            "templateId": (await self.template())["id"],
            "tenantId": tenant or (owner.tenant_id if owner else self.tenant),
            "nodeId": node["id"] if node else None,
            "tags": tags,
        }
        device = await self.made("/v1/devices", wanted)
        if owner is None:
            return device
        return await self.made(f"/v1/devices/{device['id']}/assign", {"ownerId": owner.id})

    async def get(self, device_id: str, *, by: dict[str, str] | None = None) -> dict[str, Any]:
        answer = await self.ask("GET", f"/v1/devices/{device_id}", by=by)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@pytest.fixture(scope="module")
async def url(postgres: Postgres) -> str:
    url = await postgres.database()
    await migrate(url, "device")
    return url


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, schema=SCHEMA, service="device")
    yield database
    await database.close()


@pytest.fixture
def core(users: Users, signer: Signer) -> CoreClients:
    """The services that device asks."""
    return CoreClients(
        lambda service: f"http://{service}.test",
        signer.identity("device"),
        transport_of=lambda service: users.transport,
    )


@pytest.fixture
async def world(
    url: str, database: Database, users: Users, signer: Signer, core: CoreClients, adb_port: int
) -> AsyncIterator[World]:
    app = create_app(
        database=Database(url, schema=SCHEMA, service="device"),
        verifier=signer.verifier(),
        core=core,
        cursor_key="key",
        body_limit_bytes=65_536,
        adb=Adb(("127.0.0.1", adb_port), deadline=60),
    )
    async with client_of(app) as http:
        yield World(http, signer, users, database)

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest
from sqlalchemy import text

from cloudphone_core.app.main import create_app
from cloudphone_core.app.models import SCHEMA
from cloudphone_core.app.storage import Storage
from cloudphone_core.app.upload_routes import PATCHED
from cloudphone_core.app.uploads import Rules
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.ids import uuid7
from tests.core.owners import Owners
from tests.servers import Postgres
from tests.signing import Signer, client_of
from tests.uploading import TUS, publish_apk

Headers = Mapping[str, str]


@pytest.fixture(scope="module")
def database_url(postgres: Postgres) -> str:
    url = postgres.create_database()
    anyio.run(migrate, url, "app")
    return url


class World:
    """The app service on a database of its own, with two tenants and one customer with a phone."""

    def __init__(
        self, client: httpx.AsyncClient, database: Database, signer: Signer, owners: Owners, storage: Storage
    ) -> None:
        self.storage = storage
        self.client, self.database, self.signer, self.owners = client, database, signer, owners
        self.now = datetime(2026, 3, 15, 12, tzinfo=UTC)
        self.acme, self.rival = uuid7(), uuid7()
        self.admin = signer.headers(role="admin", tenant=self.acme)
        self.bff = signer.service("bff-admin")
        self.ana = owners.user(self.acme)
        self.as_ana = self.customer(self.ana.id, self.acme)
        self.phone = owners.device(self.acme, self.ana.id)

    def customer(self, user_id: UUID, tenant_id: UUID) -> Headers:
        return self.signer.headers(role="customer", id=user_id, tenant=tenant_id)

    def staff(self, tenant_id: UUID, role: str = "operator") -> Headers:
        return self.signer.headers(role=role, tenant=tenant_id, scope="tenant")

    async def ok(self, method: str, path: str, who: Headers, body: object = None, **more: Any) -> dict[str, Any]:
        response = await self.client.request(method, path, headers=who, json=body, **more)
        assert response.is_success, response.text
        return response.json()

    async def app(self, who: Headers | None = None, **fields: object) -> dict[str, Any]:
        """Published to everybody, unless told otherwise."""
        body = {"packageName": f"com.example.a{uuid7().hex}", "name": "Chess", "published": True, **fields}
        return (await self.ok("POST", "/v1/apps", who or self.admin, body))["data"]

    async def version(self, app: Mapping[str, Any], who: Headers | None = None, **fields: object) -> dict[str, Any]:
        """One that can be installed, though its file is nowhere."""
        body = {"versionCode": 1, "versionName": "1.0", "sha256": "a" * 64, "size": 1000, **fields}
        made = (await self.ok("POST", f"/v1/apps/{app['id']}/versions", who or self.admin, body))["data"]
        async with self.database.writing() as session:
            with_file = text("UPDATE app.app_versions SET object_key = 'apks/nowhere' WHERE id = :id")
            await session.execute(with_file, {"id": made["id"]})
        return made

    async def install(
        self, version: Mapping[str, Any], device: Device | None = None, who: Headers | None = None
    ) -> dict[str, Any]:
        body = {"deviceId": str((device or self.phone).id), "appVersionId": version["id"]}
        return (await self.ok("POST", "/v1/installations", who or self.as_ana, body))["data"]

    async def walk(self, installation: Mapping[str, Any], *states: str) -> None:
        for state in states:
            await self.ok("PATCH", f"/v1/installations/{installation['id']}", self.admin, {"state": state})

    async def listed(self, who: Headers, device: Device | None = None) -> dict[str, Any]:
        return await self.ok("GET", f"/v1/devices/{(device or self.phone).id}/installations", who)

    async def upload(
        self, content: bytes, who: Headers | None = None, *, split: int | None = None, **metadata: str
    ) -> dict[str, Any]:
        """Sent in one piece, or in two; what became of it."""
        place = await self.announced(len(content), who, **metadata)
        for start, end in [(0, split), (split, len(content))] if split else [(0, len(content))]:
            assert (await self.send(place, start or 0, content[start:end], who)).status_code == 204
        return (await self.ok("GET", place, who or self.admin))["data"]

    async def announced(self, length: int, who: Headers | None = None, **metadata: str) -> str:
        """Where the file is to be sent."""
        told = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in metadata.items())
        headers = {**(who or self.admin), **TUS, "Upload-Length": str(length), "Upload-Metadata": told}
        response = await self.client.post("/v1/uploads", headers=headers)
        assert response.status_code == 201, response.text
        return response.headers["location"]

    async def send(
        self, place: str, offset: int, content: Any, who: Headers | None = None, **more: str
    ) -> httpx.Response:
        headers = {**(who or self.admin), **TUS, "Upload-Offset": str(offset), "Content-Type": PATCHED, **more}
        return await self.client.patch(place, headers=headers, content=content)

    async def published(self, content: bytes, who: Headers | None = None, **wanted: object) -> dict[str, Any]:
        return await publish_apk(self.client, content, who or self.admin, **wanted)

    async def open_connections(self, count: int = 6) -> None:
        """So that what is sent at once is carried out at once, not one after another as connections come up."""
        async with AsyncExitStack() as held:
            for _ in range(count):
                await held.enter_async_context(self.database.reading())

    async def rows(self, sql: str, **parameters: object) -> list[Any]:
        async with self.database.reading() as session:
            return list((await session.execute(text(sql), parameters)).all())


TO_INSTALLED = ("downloading", "transferring", "installing", "verifying", "installed")


RULES = Rules(largest=64 << 20, life_seconds=3600, most_open=10, abis=("arm64-v8a", "x86_64"))


@pytest.fixture
async def world(database_url: str, signer: Signer, tmp_path: Path) -> AsyncIterator[World]:
    database = Database(database_url, schema=SCHEMA, service="app", pool_size=10)
    owners = Owners()
    storage = Storage(f"file://{tmp_path}/apps")
    app = create_app(
        storage=storage,
        rules=RULES,
        database=database,
        verifier=signer.verifier(),
        core=owners.clients(signer, "app"),
        cursor_key="test",
        now=lambda: world.now,
    )
    async with client_of(app) as client:
        world = World(client, database, signer, owners, storage)
        yield world

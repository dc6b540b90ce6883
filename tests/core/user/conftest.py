"""A user service over a real PostgreSQL, with a clock to move and passwords that are cheap to check."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher

from cloudphone_core.user.installation import create_first_administrator
from cloudphone_core.user.main import create_app
from cloudphone_core.user.models import SCHEMA
from cloudphone_core.user.passwords import Passwords
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.settings import Auth, Secret
from tests.servers import Postgres
from tests.signing import client_of

PASSWORD = "correct horse battery"
AUTH = Auth(
    freshness_key=Secret("f" * 32),
    cursor_key=Secret("c" * 32),
    service_clients={name: Secret(f"secret of {name}") for name in ("bff-admin", "billing", "cache-worker")},
)


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, *, seconds: float = 0, minutes: float = 0, days: float = 0) -> None:
        self.now += seconds + minutes * 60 + days * 86400


class World:
    """Makes accounts as callers do, over HTTP. `root` administers the platform."""

    def __init__(self, http: httpx.AsyncClient, database: Database, clock: Clock) -> None:
        self.http, self.database, self.clock = http, database, clock
        self.root: dict[str, str] = {}
        self.root_id = ""
        self.root_email = ""

    async def start(self) -> None:
        self.root_email = f"root-{uuid.uuid4().hex[:8]}@example.com"
        root = await create_first_administrator(
            self.database, name="Root", email=self.root_email, password=PASSWORD, tenant="platform", passwords=cheap()
        )
        self.root_id = str(root.id)
        self.root = await self.signed_in(self.root_email)

    async def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.http.post("/v1/auth/login", json={"email": email, "password": password})

    async def refresh(self, token: str) -> httpx.Response:
        return await self.http.post("/v1/auth/refresh", json={"refreshToken": token})

    async def tokens(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.login(email, password)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def signed_in(self, email: str) -> dict[str, str]:
        return {"Authorization": "Bearer " + (await self.tokens(email))["accessToken"]}

    async def as_service(self, name: str) -> dict[str, str]:
        credentials = {"clientId": name, "clientSecret": f"secret of {name}"}
        answer = await self.http.post("/v1/service-tokens", json=credentials)
        assert answer.status_code == 200, answer.text
        return {"Authorization": "Bearer " + answer.json()["accessToken"]}

    async def tenant(self, name: str = "Acme") -> str:
        body = {"name": name, "slug": f"t-{uuid.uuid4().hex[:12]}"}
        answer = await self.http.post("/v1/tenants", json=body, headers=self.root)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["id"]

    async def user(self, *, by: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        fields = {"name": "Ana", "email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, **fields}
        answer = await self.http.post("/v1/users", json=fields, headers=by or self.root)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    async def member(self, **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """An account and its signed-in headers."""
        user = await self.user(**fields)
        return user, await self.signed_in(user["email"])

    async def seen(self, user_id: str, by: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.get(f"/v1/users/{user_id}", headers=by or self.root)

    async def patch(self, user_id: str, by: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        return await self.http.patch(f"/v1/users/{user_id}", json=changes, headers=by or self.root)

    async def suspend(self, user_id: str, by: dict[str, str] | None = None) -> httpx.Response:
        body = {"reason": "unpaid"}
        return await self.http.post(f"/v1/users/{user_id}/suspend", json=body, headers=by or self.root)


def cheap() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=256, parallelism=1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="package")
async def migrated(postgres: Postgres) -> str:
    """The URL of a database that each test finds as the migration leaves it, which is kept beside the tables."""
    url = await postgres.database()
    await migrate(url, "user")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA migrated")
    for table in await tables(connection):
        await connection.execute(f'CREATE TABLE migrated."{table}" AS TABLE {SCHEMA}."{table}"')
    await connection.close()
    return url


async def tables(connection: Any) -> list[str]:
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SCHEMA)
    return [row["tablename"] for row in found]


async def restore(url: str) -> None:
    """Takes a tenth of the time that a copy of the database takes."""
    connection: Any = await asyncpg.connect(url)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    await connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}")
    names = await tables(connection)
    async with connection.transaction():
        # Nothing refers to anything while all of it is put back.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"TRUNCATE {', '.join(f'{SCHEMA}.{name}' for name in names)} RESTART IDENTITY")
        for name in names:
            await connection.execute(f'INSERT INTO {SCHEMA}."{name}" OVERRIDING SYSTEM VALUE TABLE migrated."{name}"')
    await connection.close()


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    await restore(migrated)
    database = Database(migrated, schema=SCHEMA, service="user", pool_size=8)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database, clock: Clock) -> AsyncIterator[World]:
    app = create_app(database=database, auth=AUTH, passwords=cheap(), clock=clock, body_limit_bytes=100_000)
    async with client_of(app) as http:
        world = World(http, database, clock)
        await world.start()
        yield world

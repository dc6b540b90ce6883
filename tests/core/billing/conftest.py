from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import httpx
import jwt
import pytest
from sqlalchemy import text

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting, of_tenant, wallet
from cloudphone_core.billing.main import create_app
from cloudphone_core.billing.models import SCHEMA
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.ids import uuid7
from tests.conftest import running
from tests.core.billing.card_server import CardServer
from tests.core.owners import Owners
from tests.servers import Postgres
from tests.signing import Signer, client_of

Headers = Mapping[str, str]


@pytest.fixture(scope="module")
def database_url(postgres: Postgres) -> str:
    url = postgres.create_database()
    anyio.run(migrate, url, "billing")
    return url


class World:
    """Billing's app on a database of its own, with two tenants and a clock that stands until it is moved."""

    def __init__(self, client: httpx.AsyncClient, database: Database, signer: Signer, owners: Owners) -> None:
        self.client, self.database, self.signer, self.owners = client, database, signer, owners
        self.now = datetime(2026, 3, 15, 12, tzinfo=UTC)
        self.acme, self.rival = uuid7(), uuid7()
        self.admin = signer.headers(role="admin", tenant=self.acme)
        self.bff = signer.service("bff-admin")
        self.ana = owners.user(self.acme)
        self.as_ana = self.customer(self.ana.id, self.acme)

    def customer(self, user_id: UUID, tenant_id: UUID) -> Headers:
        return self.signer.headers(role="customer", id=user_id, tenant=tenant_id)

    def staff(self, tenant_id: UUID, role: str = "admin") -> Headers:
        return self.signer.headers(role=role, tenant=tenant_id, scope="tenant")

    def hour(self, hours: float) -> str:
        return (self.now + timedelta(hours=hours)).isoformat()

    async def ok(self, method: str, path: str, who: Headers, body: object = None, **more: Any) -> dict[str, Any]:
        response = await self.client.request(method, path, headers=who, json=body, **more)
        assert response.is_success, response.text
        return response.json()

    async def plan(self, **fields: object) -> dict[str, Any]:
        body = {"name": "Basic", "price": 1999, "currency": "USD", **fields}
        return (await self.ok("POST", "/v1/plans", self.admin, body))["data"]

    async def order(self, who: Headers | None = None, **fields: Any) -> dict[str, Any]:
        """Bought by somebody who has just the money for it."""
        body = {"planId": str(fields.pop("planId", None) or (await self.plan())["id"]), **fields}
        plan = (await self.ok("GET", f"/v1/plans/{body['planId']}", self.bff))["data"]
        user_id = UUID(str(fields.get("userId") or _id_of(who or self.as_ana)))
        await self.fund(user_id, plan["price"], plan["currency"])
        return (await self.ok("POST", "/v1/orders", who or self.as_ana, body))["data"]

    async def fund(self, user_id: UUID, amount: int, currency: str = "USD") -> None:
        """Puts money into a wallet, as it was there when the ledger began."""
        tenant_id = self.owners.users[user_id].tenant_id
        postings = [
            Posting(wallet(tenant_id, user_id, currency), amount),
            Posting(of_tenant(tenant_id, "opening", currency), -amount),
        ]
        async with self.database.writing() as session:
            if amount:
                await transfers.transfer(
                    session, key=str(uuid7()), kind="opening", postings=postings, reason="opening", reference=None,
                    actor="test", at=self.now,
                )  # fmt: skip

    async def run(
        self, device_id: UUID, user_id: UUID, start: float, stop: float | None, **fields: object
    ) -> dict[str, Any]:
        """Records a run from and to hours from now."""
        body = {
            "runId": str(uuid7()), "deviceId": str(device_id), "userId": str(user_id), "startedAt": self.hour(start),
            "stoppedAt": None if stop is None else self.hour(stop), **fields,
        }  # fmt: skip
        return await self.ok("POST", "/v1/usage-records", self.admin, body)

    async def open_connections(self, count: int = 6) -> None:
        """So that what is sent at once is carried out at once, not one after another as connections come up."""
        async with AsyncExitStack() as held:
            for _ in range(count):
                await held.enter_async_context(self.database.reading())

    async def rows(self, sql: str, **parameters: object) -> list[Any]:
        async with self.database.reading() as session:
            return list((await session.execute(text(sql), parameters)).all())


def _id_of(who: Headers) -> str:
    token = who["Authorization"].removeprefix("Bearer ")
    return jwt.decode(token, options={"verify_signature": False})["sub"]


@pytest.fixture
async def world(database_url: str, signer: Signer) -> AsyncIterator[World]:
    database = Database(database_url, schema=SCHEMA, service="billing", pool_size=10)
    owners = Owners()
    app = create_app(
        database=database,
        verifier=signer.verifier(),
        core=owners.clients(signer, "billing"),
        cursor_key="test",
        now=lambda: world.now,
    )
    async with client_of(app) as client:
        world = World(client, database, signer, owners)
        yield world


@pytest.fixture(scope="session")
def card_server() -> Iterator[CardServer]:
    with running(CardServer) as server:
        yield server

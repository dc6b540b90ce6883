"""A scheduler over a real PostgreSQL, with a fleet written as the device service would tell it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio
import httpx
import msgspec
import pytest
import sqlalchemy as sa

from cloudphone_core.scheduler import health, inventory, queue, service
from cloudphone_core.scheduler.main import create_app
from cloudphone_core.scheduler.models import SCHEMA
from cloudphone_core.scheduler.settings import Scheduling
from cloudphone_core.scheduler.subscribers import follow
from cloudphone_shared import entities
from cloudphone_shared.contracts.device import Device, Node, NodeStatus, NodeSummary, TemplateSummary
from cloudphone_shared.contracts.scheduler import NodeReport
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import DeviceAllocated, DeviceAllocationRefused, DeviceStatusChanged
from cloudphone_shared.ids import uuid7
from tests.core.owners import Owners
from tests.servers import Postgres
from tests.signing import Signer, client_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
REPORT = NodeReport(cpu_load=0.1, memory_used=1, memory_total=2, storage_used=1, storage_total=2, devices_running=0)
PATIENCE = Scheduling(
    scheduler_silence_seconds=3600, scheduler_answer_seconds=3600, scheduler_rest_seconds=0.001,
    scheduler_sweep_seconds=0.1,
)  # fmt: skip
"""Nothing runs out by itself while a test runs."""


class World:
    """Nodes and devices as they are told of; `ask` speaks to the scheduler over HTTP, as an admin of all tenants."""

    def __init__(self, http: httpx.AsyncClient, database: Database, signer: Signer, owners: Owners) -> None:
        self.http, self.database, self.signer, self.owners = http, database, signer, owners
        self.tenant = uuid7()
        self.user = owners.user(self.tenant)
        self.admin = signer.headers(role="admin", tenant=self.tenant)
        self.devices: dict[UUID, Device] = {}
        self.version = 10**12
        self.templates: dict[UUID, TemplateSummary] = {}

    def newer(self) -> int:
        self.version += 1
        return self.version

    async def node(
        self,
        name: str = "",
        *,
        region: str = "eu",
        capacity: int = 100,
        weight: int = 1,
        labels: dict[str, str] | None = None,
        status: NodeStatus = "online",
        alive: bool = True,
        id: UUID | None = None,  # noqa: A002
    ) -> UUID:
        node_id = id or uuid7()
        node = Node(
            id=node_id, name=name or f"node {node_id}", region=region, status=status, capacity=capacity, weight=weight,
            labels=labels or {}, last_heartbeat_at=None, version=self.newer(),
        )  # fmt: skip
        async with self.database.writing() as session:
            await inventory.write_nodes(session, [node])
            if alive:
                await health.note_heartbeat(session, node_id, REPORT)
        return node_id

    async def phones(
        self, node_id: UUID, count: int = 1, *, tenant: UUID | None = None, template: UUID | None = None
    ) -> list[UUID]:
        made = [self._device(node_id, tenant or self.tenant, template or uuid7()) for _ in range(count)]
        async with self.database.writing() as session:
            await inventory.write_devices(session, made[0].tenant_id, made)
        self.devices |= {device.id: device for device in made}
        return [device.id for device in made]

    def _device(self, node_id: UUID, tenant_id: UUID, template_id: UUID) -> Device:
        node = NodeSummary(id=node_id, name="", region="eu", status="online")
        template = TemplateSummary(id=template_id, name="Android", android_version="14", width=1080, height=1920)
        return Device(
            id=uuid7(), tenant_id=tenant_id, name="Pixel", owner_id=None, owner_name=None, owner_email=None,
            state="idle", desired_state="idle", provider="simulated", node=node, template=template, tags=[],
            generation=1, run_id=None, adb_host=None, adb_port=None, created_at=BEGAN, updated_at=BEGAN,
            version=self.newer(),
        )  # fmt: skip

    async def ask(
        self, method: str, path: str, body: object = None, *, by: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        """`headers` in the manner of `idempotency_key="…"`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else msgspec.json.encode(body)
        everything = {"Content-Type": "application/json", **(by or self.admin), **more}
        return await self.http.request(method, path, content=content, headers=everything)

    async def allocate(self, user: User | None = None, **fields: object) -> httpx.Response:
        return await self.ask("POST", "/v1/allocations", {"userId": (user or self.user).id, **fields})

    async def placed(self, user: User | None = None, **fields: object) -> dict[str, Any]:
        """The allocation."""
        answer = await self.allocate(user, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["allocation"]

    async def got(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def hear(self, event: Event, version: int | None = None, seq: int | None = None) -> None:
        """As the inventory's queue brings it."""
        async with self.database.writing() as session:
            await follow(session, envelope(event, version or self.newer(), seq), PATIENCE)

    async def device_is(self, device_id: UUID | str, state: str, version: int | None = None) -> None:
        told = DeviceStatusChanged(
            device_id=UUID(str(device_id)), tenant_id=self.tenant, user_id=None, old_status="", new_status=state,
            reason="",
        )  # fmt: skip
        await self.hear(told, version)

    async def device_took(self, allocation: dict[str, Any]) -> None:
        await self.hear(
            DeviceAllocated(
                device_id=UUID(allocation["deviceId"]), tenant_id=UUID(allocation["tenantId"]),
                user_id=UUID(allocation["userId"]), allocation_id=UUID(allocation["id"]),
                fencing_token=allocation["fencingToken"],
            )
        )  # fmt: skip

    async def device_refused(self, allocation: dict[str, Any], reason: str = "not idle") -> None:
        await self.hear(
            DeviceAllocationRefused(
                device_id=UUID(allocation["deviceId"]), tenant_id=UUID(allocation["tenantId"]),
                allocation_id=UUID(allocation["id"]), fencing_token=allocation["fencingToken"], reason=reason,
            )
        )  # fmt: skip

    async def release(self, allocation: dict[str, Any], token: int | None = None) -> httpx.Response:
        body = {"fencingToken": token or allocation["fencingToken"], "reason": "done with"}
        return await self.ask("POST", f"/v1/allocations/{allocation['id']}/release", body)

    async def serve(self) -> int:
        return await queue.serve(self.database, PATIENCE)

    async def announced(self, kind: type[Event]) -> list[Any]:
        """What was announced of a type, in order."""
        rows = await self.rows(f"SELECT payload::text FROM scheduler.outbox WHERE type = '{kind.type}' ORDER BY id")
        return [msgspec.json.decode(row[0], type=kind) for row in rows]

    async def rows(self, sql: str, **parameters: object) -> list[Any]:
        async with self.database.writing() as session:
            result = await session.execute(sa.text(sql), parameters)
            return list(result.all()) if result.returns_rows else []  # type: ignore[attr-defined]

    async def strategy(self, strategy: str) -> None:
        async with self.database.writing() as session:
            await service.set_strategy(session, strategy)  # type: ignore[arg-type]


def envelope(event: Event, version: int, seq: int | None = None) -> Envelope:
    named = {}
    if (device_id := getattr(event, "device_id", None)) is not None:
        named = {entities.device(device_id): version}
    elif (node_id := getattr(event, "node_id", None)) is not None:
        named = {entities.node(node_id): version}
    return Envelope(
        event_id=uuid7(), type=event.type, version=event.version, time=datetime.now(UTC), source="device", seq=seq,
        entities=named, data=msgspec.Raw(msgspec.json.encode(event)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    url = postgres.create_database()
    anyio.run(migrate, url, "scheduler")
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, schema=SCHEMA, service="scheduler")
    yield database
    await database.close()


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
async def world(url: str, database: Database, owners: Owners, signer: Signer) -> AsyncIterator[World]:
    app = create_app(
        database=Database(url, schema=SCHEMA, service="scheduler"),
        verifier=signer.verifier(),
        core=owners.clients(signer, "scheduler"),
        cursor_key="key",
        body_limit_bytes=65_536,
        patience=PATIENCE,
    )
    async with client_of(app) as http:
        yield World(http, database, signer, owners)
        # The next test finds no nodes of this one's.
    await empty(database)


async def empty(database: Database) -> None:
    tables = ("allocations", "requests", "turns", "rings", "sites", "devices", "nodes", "outbox", "inbox")
    async with database.writing() as session:
        await session.execute(sa.text("TRUNCATE " + ", ".join(f"scheduler.{table}" for table in tables)))

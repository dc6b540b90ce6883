"""Allocations: 1,000 nodes with 10,000 devices of four tenants; eight callers at once, at the database alone."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import sqlalchemy as sa

from cloudphone_core.scheduler.models import SCHEMA, DeviceRow, NodeRow, SiteRow, TenantRow
from cloudphone_core.scheduler.service import request_device
from cloudphone_core.scheduler.settings import Scheduling
from cloudphone_shared.contracts.scheduler import AllocationCreate, Strategy
from cloudphone_shared.database import Database, copy_rows, migrate
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.load import percentile
from tests.bench.stand import Stand

NODES, DEVICES_EACH, TENANTS, CALLERS = 1_000, 10, 4, 8
STRATEGIES: tuple[Strategy, ...] = ("round_robin", "weighted_round_robin", "least_connection")


async def allocate(stand: Stand, figures: Figures) -> None:
    """Allocations/s by each strategy, with 1,000 nodes and 10,000 devices."""
    async with _fleet(stand, stand.effort.less(NODES, 50)) as (database, tenants):
        for strategy in STRATEGIES:
            await _measured(database, tenants, strategy, stand.effort.less(600, 60), figures)


async def _measured(database: Database, tenants: list[UUID], strategy: Strategy, count: int, figures: Figures) -> None:
    took: list[float] = []
    turns = iter(range(count))
    patience = Scheduling()

    async def ask() -> None:
        for turn in turns:
            began = time.perf_counter()
            wanted = AllocationCreate(user_id=uuid7(), strategy=strategy)
            async with database.writing() as session:
                await request_device(session, wanted, tenants[turn % len(tenants)], patience)
            took.append(1000 * (time.perf_counter() - began))

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(ask() for _ in range(CALLERS)))
    seconds = time.perf_counter() - began
    figures.add(f"allocations_{strategy}_per_s", count / seconds, "/s")
    figures.add(f"allocations_{strategy}_p99_ms", percentile(sorted(took), 0.99), "ms")
    figures.add(f"allocations_{strategy}_cpu_ms", 1000 * (time.process_time() - used) / count, "ms")


@asynccontextmanager
async def _fleet(stand: Stand, count: int) -> AsyncGenerator[tuple[Database, list[UUID]]]:
    """All idle and healthy, in a database of its own; the devices of each tenant stand on every node."""
    url = await stand.postgres.database()
    await migrate(url, "scheduler")
    database = Database(url, schema=SCHEMA, service="scheduler", pool_size=CALLERS)
    try:
        tenants = [uuid7() for _ in range(TENANTS)]
        nodes = [uuid7() for _ in range(count)]
        async with database.writing() as session:
            await copy_rows(session, NodeRow, [_node(node, number) for number, node in enumerate(nodes)])
            await copy_rows(session, TenantRow, [{"id": tenant, "served": 0} for tenant in tenants])
            devices = [
                _device(node, tenants[(place + each) % TENANTS])
                for place, node in enumerate(nodes)
                for each in range(DEVICES_EACH)
            ]
            await copy_rows(session, DeviceRow, devices)
            places = [{"tenant_id": tenant, "node_id": node} for tenant in tenants for node in nodes]
            await copy_rows(session, SiteRow, places)
            for table in ("nodes", "devices", "sites"):
                await session.execute(sa.text(f"ANALYZE {SCHEMA}.{table}"))
        yield database, tenants
    finally:
        await database.close()


def _node(node: UUID, number: int) -> dict[str, object]:
    return {
        "id": node, "version": 1, "name": f"node {number}", "region": "eu", "status": "online", "capacity": 100,
        "weight": 1 + number % 5, "labels": {}, "deleted": False, "stale": False, "health": "online", "live": 0,
    }  # fmt: skip


def _device(node: UUID, tenant: UUID) -> dict[str, object]:
    return {
        "id": uuid7(), "version": 1, "seq": 0, "tenant_id": tenant, "node_id": node, "template_id": tenant,
        "state": "idle", "deleted": False, "stale": False,
    }  # fmt: skip

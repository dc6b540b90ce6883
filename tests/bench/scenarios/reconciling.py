"""Reconciling: five thousand simulated containers held against their rows, all as they should be, then one in fifty
not."""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from cloudphone_core.device.models import SCHEMA, DeviceRow
from cloudphone_core.device.providers.port import DEPLOYMENT, DEVICE, GENERATION
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_core.device.reconcile.comparing import Grace
from cloudphone_core.device.reconcile.reconciling import Reconciler
from cloudphone_core.device.seed import SeedDevice, SeedTemplate, seed
from cloudphone_phone import Farm, Plan
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand
from tests.servers import Guard

CONTAINERS = 5_000
ONE_IN = 50
DEPLOYED = "bench"


async def reconcile(stand: Stand, figures: Figures) -> None:
    """5,000 simulated containers held against their rows: all agree; then one in fifty has no row, or none has it."""
    containers = stand.effort.less(CONTAINERS, 200)
    async with _world(stand, containers) as (database, farm, devices):
        provider = SimulatedProvider(farm)
        reconciler = Reconciler(
            database, provider, name="simulated", deployment=DEPLOYED, grace=Grace(container=0.0, volume=0.0)
        )
        for _ in range(stand.effort.rounds):
            await _measured(reconciler, figures, "reconcile")
        for _ in range(stand.effort.rounds):
            await _disturb(database, farm, devices)
            await _measured(reconciler, figures, "reconcile_repairing")


async def _measured(reconciler: Reconciler, figures: Figures, name: str) -> None:
    began, used = time.perf_counter(), time.process_time()
    async with _longest_stall() as stalls:
        await reconciler.once()
    figures.add(f"{name}_ms", 1000 * (time.perf_counter() - began), "ms")
    figures.add(f"{name}_cpu_ms", 1000 * (time.process_time() - used), "ms")
    figures.add(f"{name}_stall_ms", 1000 * max(stalls), "ms")


@asynccontextmanager
async def _world(stand: Stand, containers: int) -> AsyncGenerator[tuple[Database, Farm, list[UUID]]]:
    """Devices that are stopped, each with a container and its volume, in a database and a farm of their own."""
    url = await stand.postgres.database()
    await migrate(url, "device")
    database = Database(url, schema=SCHEMA, service="device", pool_size=8)
    folder = Guard.get().folder / "bench-farm"
    farm = Farm(folder)
    await farm.open()
    try:
        devices = await _rows(database, containers)
        for device in devices:
            await farm.create(_plan(device))
        yield database, farm, devices
    finally:
        await farm.close()
        await database.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _rows(database: Database, count: int) -> list[UUID]:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    template = SeedTemplate(
        id=uuid7(), name="Small", android_version="13", cpu_cores=2, memory_mib=2048, storage_gib=8, created_at=long_ago
    )
    devices = [
        SeedDevice(id=uuid7(), tenant_id=uuid7(), name=f"Phone {number}", template_id=template.id, created_at=long_ago,
                   updated_at=long_ago)
        for number in range(count)
    ]  # fmt: skip
    await seed(database, nodes=[], templates=[template], devices=devices)
    async with database.writing() as session:
        name = sa.func.concat("phone-", DeviceRow.id, "-1")
        await session.execute(sa.update(DeviceRow).values(state="stopped", container_id=name, volume_name=name))
    return [device.id for device in devices]


async def _disturb(database: Database, farm: Farm, devices: list[UUID]) -> None:
    """Takes the container from every fiftieth device, and puts as many there that no device has."""
    lost = devices[::ONE_IN]
    async with database.writing() as session:
        name = sa.func.concat("phone-", DeviceRow.id, "-1")
        chosen = sa.update(DeviceRow).where(DeviceRow.id.in_(lost))
        await session.execute(chosen.values(state="stopped", container_id=name, volume_name=name))
    for device in lost:
        await farm.remove(_name(device))
        await farm.create(_plan(uuid7()))


def _plan(device: UUID) -> Plan:
    labels = {DEPLOYMENT: DEPLOYED, DEVICE: str(device), GENERATION: "1"}
    return Plan(name=_name(device), volume=_name(device), labels=labels)


def _name(device: UUID) -> str:
    return f"phone-{device}-1"


@asynccontextmanager
async def _longest_stall() -> AsyncGenerator[list[float]]:
    """How late the event loop ran something that was due each millisecond, in seconds."""
    late = [0.0]

    async def tick() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticking.cancel()

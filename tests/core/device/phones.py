"""Phones for the device service: a farm behind its provider, and a client of a real adb server."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from cloudphone_core.device.adb import Adb, PhoneAway
from cloudphone_core.device.models import DeviceRow, DeviceRunRow
from cloudphone_core.device.providers.port import DEPLOYMENT, DEVICE, GENERATION, Container, ContainerPlan
from cloudphone_core.device.providers.simulated import SimulatedProvider
from cloudphone_phone import Farm
from cloudphone_shared.database import Database
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.phone.adb import running


def plan(device_id: UUID | None = None, *, deployment: str = "ours", generation: int = 1) -> ContainerPlan:
    device_id = device_id or uuid4()
    name = f"cp-{device_id.hex}-{generation}"
    return ContainerPlan(
        device_id=device_id,
        name=name,
        volume=f"{name}-data",
        labels={DEPLOYMENT: deployment, DEVICE: str(device_id), GENERATION: str(generation)},
        image=None,
        android_version="13",
        abis=("x86_64", "arm64-v8a"),
        cpu_cores=2,
        memory_mib=2048,
        storage_gib=8,
        width=720,
        height=1280,
        dpi=320,
    )


class CountingProvider(SimulatedProvider):
    """Counts how often it was asked what became of a container."""

    inspections = 0

    async def inspect(self, container_id: str) -> Container | None:
        self.inspections += 1
        return await super().inspect(container_id)


class Phones(NamedTuple):
    """`start` gives a phone that has booted and that adb is connected to; `port` is the adb server's."""

    farm: Farm
    provider: CountingProvider
    adb: Adb
    port: int

    async def start(self, asked: ContainerPlan | None = None) -> tuple[Container, str]:
        container = await self.provider.start((await self.provider.create(asked or plan())).id)
        address = at(container)
        await self.adb.connect(address)

        async def booted() -> bool:
            return await self.adb.booted(address)

        await eventually(booted)
        return container, address

    async def connected(self, address: str) -> bool:
        """Whether it is, and has booted; tries to."""
        try:
            await self.adb.connect(address)
            return await self.adb.booted(address)
        except PhoneAway:
            return False

    def typed(self, container: Container) -> str:
        """What was typed into the app in front."""
        return self.farm._phones[container.id].android.activities.front.typed  # pyright: ignore[reportPrivateUsage]


async def now_running(database: Database, device_id: UUID | str, container: Container) -> UUID:
    """Makes the device's row say that this container runs for it. Returns the run's id."""
    assert container.address is not None
    device_id, run_id, now = UUID(str(device_id)), uuid7(), datetime.now(UTC)
    host, port = container.address
    async with database.writing() as session:
        row = await session.get_one(DeviceRow, device_id)
        row.state = row.desired_state = "running"
        row.run_id, row.container_id, row.volume_name = run_id, container.id, container.volume
        row.adb_host, row.adb_port, row.last_seen_at = host, port, now
        session.add(DeviceRunRow(run_id=run_id, device_id=device_id, started_at=now, last_seen_at=now))
    return run_id


def at(container: Container) -> str:
    assert container.address is not None
    return f"{container.address[0]}:{container.address[1]}"


@pytest.fixture(scope="session")
def adb_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("adb-of-devices")) as server:
        yield server.port


@pytest.fixture
async def phones(adb_port: int, tmp_path: Path) -> AsyncIterator[Phones]:
    farm = Farm(tmp_path / "farm")
    await farm.open()
    adb = Adb(("127.0.0.1", adb_port), deadline=60)
    yield Phones(farm, CountingProvider(farm, boot_seconds=0.0), adb, adb_port)
    for address in await adb.states():
        await adb.disconnect(address)
    await adb.close()
    await farm.close()

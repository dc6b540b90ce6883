"""Tells the scheduler that nodes live, and how they are."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
import structlog
from msgspec.structs import replace

from cloudphone_shared.clients.scheduler import SchedulerClient
from cloudphone_shared.contracts.scheduler import NodeReport
from cloudphone_shared.database import Database
from cloudphone_shared.errors import DomainError, Unavailable

from ..models import DeviceRow, NodeRow

log: structlog.stdlib.BoundLogger = structlog.get_logger()

HEARTBEAT_SECONDS = 5.0
_AT_ONCE = 16


class Heartbeats:
    """`nodes`: names of those that this machine is, None: all. `folder`: on the disk that its phones fill."""

    def __init__(
        self, database: Database, scheduler: SchedulerClient, folder: Path, *, nodes: Sequence[str] | None = None
    ) -> None:
        self._database, self._scheduler, self._folder, self._nodes = database, scheduler, folder, nodes
        self._refused = ""

    async def run(self, every: float = HEARTBEAT_SECONDS) -> None:
        """Until cancelled. What the scheduler does not hear now it hears with the next."""
        while True:
            try:
                await self.beat()
            except Unavailable as error:
                log.debug("heartbeat_not_sent", reason=str(error))
            except DomainError as error:
                # Said once: a scheduler that has not heard of a new node yet will have soon.
                if str(error) != self._refused:
                    log.warning("heartbeat_refused", reason=str(error))
                self._refused = str(error)
            await asyncio.sleep(every)

    async def beat(self) -> None:
        """Raises Unavailable and DomainError when any was not taken; the others were."""
        running = await self._running()
        machine = await asyncio.to_thread(_machine, self._folder)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def report(node_id: UUID, devices: int) -> None:
            async with slots:
                await self._scheduler.heartbeat(node_id, replace(machine, devices_running=devices))

        sent = (report(node_id, devices) for node_id, devices in running.items())
        for failure in await asyncio.gather(*sent, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _running(self) -> Mapping[UUID, int]:
        """How many devices run on each node."""
        counted = (
            sa.select(NodeRow.id, sa.func.count(DeviceRow.id))
            .outerjoin(DeviceRow, sa.and_(DeviceRow.node_id == NodeRow.id, DeviceRow.state == "running"))
            .where(NodeRow.deleted_at.is_(None))
            .group_by(NodeRow.id)
        )
        if self._nodes is not None:
            counted = counted.where(NodeRow.name.in_(self._nodes))
        async with self._database.reading() as session:
            return {row[0]: row[1] for row in await session.execute(counted)}


def _machine(folder: Path) -> NodeReport:
    """Of this machine, without devices; its memory is 0 where the system does not tell."""
    present = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    disk = shutil.disk_usage(present)
    memory = _memory()
    return NodeReport(
        cpu_load=_load(),
        memory_total=memory.get("MemTotal", 0),
        memory_used=max(0, memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)),
        storage_total=disk.total,
        storage_used=disk.used,
        devices_running=0,
    )


def _load() -> float:
    """Work waiting or done, for each core: 1 means that all are busy."""
    return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _memory() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value.split()[0]) << 10 for name, _, value in (line.partition(":") for line in lines) if value}

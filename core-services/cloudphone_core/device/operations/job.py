"""What a work is given to do its work with."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import Devices

from ..adb import Adb
from ..models import DeviceRow, OperationRow, TemplateRow
from ..moves import about, updated
from ..providers.port import Provider
from .requesting import changed

Progress = tuple[int, str]


class WorkFailed(Exception):
    """It did not succeed; `retry_after` None: and would not if tried again. `code` for programs, and a sentence."""

    def __init__(self, code: str, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retry_after = code, detail, retry_after


class Cancelled(Exception):
    """Somebody asked for its end. A work that has something to undo undoes it and lets this rise."""


class LeaseLost(Exception):
    """Another worker has this operation now, or nobody may: whatever this one still does, it must record nothing."""


class GivesWay(Unavailable):
    """The device's own life goes before what is done on its phone: to be tried again after it."""

    def __init__(self) -> None:
        super().__init__("device", "the device changes its state", retry_after=0.5)


class OperationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`attempt` is 1 at first. `token` is the lease's."""

    id: UUID
    kind: OperationKind
    device_id: UUID
    tenant_id: UUID
    request: dict[str, Any]
    attempt: int
    requested_by: str
    created_at: datetime
    deadline_at: datetime
    token: UUID


class TemplateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Memory in MiB, storage in GiB, screen in pixels."""

    id: UUID
    android_version: str
    cpu_cores: int
    memory_mib: int
    storage_gib: int
    width: int
    height: int
    dpi: int
    abis: list[str]
    image: str | None


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The row as it was when it was read."""

    id: UUID
    tenant_id: UUID
    name: str
    owner_id: UUID | None
    node_id: UUID | None
    state: DeviceState
    desired_state: DeviceState
    generation: int
    run_id: UUID | None
    container_id: str | None
    volume_name: str | None
    adb_host: str | None
    adb_port: int | None
    template: TemplateFacts

    @property
    def address(self) -> str | None:
        """Of its adbd, as adb knows it; None while it is off."""
        return f"{self.adb_host}:{self.adb_port}" if self.adb_host and self.adb_port else None


Points = Callable[[str], Awaitable[None]]


async def nothing_happens(point: str) -> None:
    """What a crash point does in production."""


class Job:
    """One attempt at one operation. `device` is as it was at the beginning, or at the last `reload`."""

    def __init__(
        self,
        *,
        operation: OperationFacts,
        device: DeviceFacts,
        database: Database,
        provider: Provider,
        adb: Adb,
        settings: Devices,
        lease_seconds: float,
        points: Points = nothing_happens,
    ) -> None:
        self.operation, self.device = operation, device
        self.database, self.provider, self.adb, self.settings = database, provider, adb, settings
        self._lease_seconds, self._points = lease_seconds, points
        self._shown: Progress | None = None

    async def progress(self, percent: int, step: str) -> None:
        """Shows how far it is and keeps the lease. Raises Cancelled, GivesWay and LeaseLost."""
        if self._shown == (percent, step):
            await self.renew()
            return
        async with self.database.writing() as session:
            row = await self._renewed(session)
            row.progress, row.step = max(0, min(percent, 100)), step
            row.updated_at = sa.func.clock_timestamp()
            await announce_all(session, [changed(row, self.device.owner_id)])
        self._shown = (percent, step)

    async def renew(self) -> None:
        """Keeps the lease. Raises what `progress` does."""
        async with self.database.writing() as session:
            await self._renewed(session)

    async def reload(self) -> DeviceFacts:
        async with self.database.reading() as session:
            self.device = await device_facts(session, self.operation.device_id)
        return self.device

    async def record(self, **facts: Any) -> None:
        """Writes columns of the device's row, such as its container. Raises LeaseLost."""
        async with self.database.writing() as session:
            device = await session.get_one(DeviceRow, self.operation.device_id, with_for_update=True)
            await leased(session, self.operation)
            for name, value in facts.items():
                setattr(device, name, value)
            if shown := [_SHOWN[name] for name in facts if name in _SHOWN]:
                await announce_all(session, [about(device, updated(device, shown))])
        await self.reload()

    async def point(self, name: str) -> None:
        """Where a test may kill the worker."""
        await self._points(f"{self.operation.kind}.{name}")

    async def _renewed(self, session: AsyncSession) -> OperationRow:
        row = await leased(session, self.operation)
        if row.cancel_requested:
            raise Cancelled
        if row.kind in ON_THE_PHONE and await _is_in_the_way(session, row):
            raise GivesWay
        # Nothing is asked after this: a row that is updated twice in a transaction has its foreign key checked again,
        # which locks the device after the operation, where everybody else locks the device first.
        row.leased_until = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, self._lease_seconds)
        return row


_SHOWN = {"generation": "generation", "adb_host": "adbHost", "adb_port": "adbPort"}
"""Columns that screens show: whoever shows them must hear of a change."""

ON_THE_PHONE: frozenset[OperationKind] = frozenset({"install", "uninstall"})
"""What is done on a running phone; it changes no device's state, and gives way to what does."""

Work = Callable[[Job], Awaitable[dict[str, Any] | None]]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation ended: `succeeded` with what its work returned, else `code` and a sentence."""

    operation: OperationFacts
    state: str
    result: dict[str, Any] = {}
    code: str = ""
    detail: str = ""


Settle = Callable[[AsyncSession, DeviceRow, Outcome], Awaitable[list[Announcement]]]
"""What else the end of an operation changes, in the transaction that ends it; it announces nothing by itself."""

Works = Mapping[OperationKind, Work]
Settlements = Mapping[OperationKind, Settle]


async def leased(session: AsyncSession, operation: OperationFacts) -> OperationRow:
    """The operation, locked. Raises LeaseLost unless it is still this attempt's."""
    row = await session.get(OperationRow, operation.id, with_for_update=True, populate_existing=True)
    if row is None or row.state != "running" or row.lease_token != operation.token:
        raise LeaseLost
    return row


async def device_facts(session: AsyncSession, device_id: UUID) -> DeviceFacts:
    device = await session.get_one(DeviceRow, device_id, populate_existing=True)
    template = await session.get_one(TemplateRow, device.template_id)
    facts = {name: getattr(device, name) for name in DeviceFacts.__struct_fields__ if name != "template"}
    return DeviceFacts(**facts, template=msgspec.convert(template, TemplateFacts, from_attributes=True))


async def _is_in_the_way(session: AsyncSession, row: OperationRow) -> bool:
    waiting = sa.exists().where(
        OperationRow.device_id == row.device_id,
        OperationRow.state == "queued",
        OperationRow.kind.not_in(ON_THE_PHONE),
    )
    return bool((await session.execute(sa.select(waiting))).scalar_one())

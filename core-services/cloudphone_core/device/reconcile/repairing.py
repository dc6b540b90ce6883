"""What is done about what does not agree. Each repair looks again first, and may be made twice."""

from uuid import UUID

import sqlalchemy as sa

from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import announce_all

from ..lifecycle.converging import phone_lost
from ..live import addresses
from ..models import DeviceRow, SnapshotRow
from ..providers.port import DEVICE, Container, Provider, Volume
from .comparing import ON, Case, Row, device_of
from .facts import rows_of

_CLOSED = "its run was closed when it was last seen, and the device is started again"


class Repairer:
    """`repaired` says what it did, in words; None: nothing, and why not where that is not plain."""

    def __init__(self, database: Database, provider: Provider) -> None:
        self._database, self._provider = database, provider

    async def repaired(self, case: Case) -> tuple[bool, str | None]:
        """Whether it still does not agree, and what was done about it. Raises ProviderRefused and Unavailable."""
        match case:
            case Case(kind="container_without_row", container=Container() as container):
                return await self._remove(container)
            case Case(kind="volume_without_row", volume=Volume() as volume, old=old):
                return (True, None) if not old else await self._remove_volume(volume)
            case Case(kind="row_without_container", row=Row() as row):
                return await self._without_container(row)
            case Case(kind="address_differs", row=Row() as row, container=Container() as container):
                return await self._moved(row, container)
            case Case(row=Row(state="running") as row, container=Container() as container):
                return await self._ended(row, container)
            case Case(row=Row() as row, container=Container() as container):
                return await self._turn_off(row, container)
            case _:
                return False, None

    async def _remove(self, container: Container) -> tuple[bool, str | None]:
        device_id = device_of(container.labels.get(DEVICE))
        row = await self._row(device_id) if device_id else None
        if row and (row.busy or row.container_id == container.id or row.volume_name == container.volume):
            return False, None
        await self._provider.remove(container.id)
        return True, "the container was removed; its volume stays for now"

    async def _remove_volume(self, volume: Volume) -> tuple[bool, str | None]:
        device_id = device_of(volume.labels.get(DEVICE))
        row = await self._row(device_id) if device_id else None
        async with self._database.reading() as session:
            kept = await session.scalar(_holders(volume.name))
        if kept or (row is not None and row.busy):
            return False, None
        await self._provider.remove_volume(volume.name)
        return True, "the volume was removed"

    async def _without_container(self, row: Row) -> tuple[bool, str | None]:
        if row.container_id is None or await self._provider.inspect(row.container_id) is not None:
            return False, None
        done = "it is made anew when the device is started"
        async with self._database.writing() as session:
            device = await session.get(DeviceRow, row.id, with_for_update=True, populate_existing=True)
            if device is None or device.container_id != row.container_id or device.state != row.state:
                return False, None
            if row.run_id is not None:
                told = await phone_lost(session, row.id, row.run_id, "its container is gone", closed_by="reconcile")
                await announce_all(session, told)
                done = _CLOSED
            # No screen shows it, so nobody needs to hear.
            device.container_id = None
        return True, done

    async def _ended(self, row: Row, container: Container) -> tuple[bool, str | None]:
        present = await self._provider.inspect(container.id)
        if present is not None and present.state in ON:
            return False, None
        crashed = present is not None and present.state == "crashed"
        return await self._lost(row, "its phone crashed" if crashed else "its phone was off")

    async def _lost(self, row: Row, reason: str) -> tuple[bool, str | None]:
        if row.run_id is None:
            return True, None
        async with self._database.writing() as session:
            told = await phone_lost(session, row.id, row.run_id, reason, closed_by="reconcile")
            await announce_all(session, told)
        if not told:
            return False, None
        return True, _CLOSED

    async def _turn_off(self, row: Row, container: Container) -> tuple[bool, str | None]:
        present = await self._row(row.id)
        if present is None or present.busy or present.state != row.state:
            return False, None
        await self._provider.stop(container.id)
        return True, "the phone was turned off"

    async def _moved(self, row: Row, container: Container) -> tuple[bool, str | None]:
        present = await self._provider.inspect(container.id)
        if present is None or present.address is None:
            return False, None
        async with self._database.writing() as session:
            moved = await addresses.change(session, row.id, row.run_id, present.address)
        return moved, "the device was told its new address" if moved else None

    async def _row(self, device_id: UUID) -> Row | None:
        async with self._database.reading() as session:
            found = await rows_of(session, only=device_id)
        return found[0] if found else None


def _holders(volume: str) -> sa.Select[int]:
    """How many devices and snapshots have it."""
    devices = sa.select(sa.func.count()).where(DeviceRow.volume_name == volume, DeviceRow.deleted_at.is_(None))
    snapshots = sa.select(sa.func.count()).where(SnapshotRow.volume_name == volume, SnapshotRow.deleted_at.is_(None))
    return sa.select(devices.scalar_subquery() + snapshots.scalar_subquery())

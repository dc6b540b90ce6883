"""What the end of a work makes of its device, in the transaction that ends the work."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.events.device import DeviceDeleted

from ..models import DeviceRow
from ..moves import about, held, move, updated
from ..operations.job import Outcome
from .copies import forget_snapshots, settle_snapshot

ACTOR = "platform"

BUSY: Mapping[OperationKind, DeviceState] = {
    "start": "starting",
    "stop": "stopping",
    "freeze": "stopping",
    "reboot": "rebooting",
    "reset": "resetting",
    "clean": "cleaning",
    "delete": "deleting",
    "snapshot": "backing_up",
    "restore": "restoring",
}
"""The state that a device is in while such work is asked for or done."""

RECOVERIES = (2.0, 10.0, 60.0, 300.0, 900.0)
"""Seconds before the first, second … thing that is done unasked; after the last one somebody has to look."""


async def settle(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    """A device that has gone on to another state meanwhile is left alone."""
    kind = outcome.operation.kind
    told = await settle_snapshot(session, device, outcome) if kind in ("snapshot", "restore") else []
    if device.state != BUSY[kind]:
        return told
    if outcome.state == "succeeded":
        return told + await _succeeded(session, device, outcome)
    error = f"{kind}: {outcome.detail}"
    if kind in ("snapshot", "restore") and outcome.code != "deadline":
        # Nothing was taken from the device: it is as it was.
        device.last_error = error[:1000]
        return told + await move(session, device, "stopped", outcome.code, outcome.operation.requested_by)
    return told + await fail(session, device, error, outcome.code)


async def fail(session: AsyncSession, device: DeviceRow, error: str, reason: str) -> list[Announcement]:
    """Into `error`; what the platform itself wants of the device is tried again later."""
    told = await move(session, device, "error", reason, ACTOR)
    # Whatever listens there now may be another device's.
    device.adb_host = device.adb_port = None
    device.last_error = error[:1000]
    if device.desired_state in ("idle", "frozen") or device.recoveries:
        recover_later(device)
    return told


def recover_later(device: DeviceRow) -> None:
    if device.recoveries < len(RECOVERIES):
        device.recover_at = datetime.now(UTC) + timedelta(seconds=RECOVERIES[device.recoveries])


async def _succeeded(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    device.last_error = None
    operation, by = outcome.operation, outcome.operation.requested_by
    match operation.kind:
        case "start" | "reboot":
            return await _running(session, device, outcome)
        case "reset" if operation.request["running"]:
            return await _running(session, device, outcome)
        case "reset":
            return await _off(session, device, "reset", by)
        case "snapshot" | "restore":
            return await _off(session, device, operation.kind, by)
        case "stop":
            return await _off(session, device, "stopped", by)
        case "freeze":
            told = await _off(session, device, "stopped", by)
            # The arrears may have ended while it stopped.
            thawed = device.desired_state != "frozen"
            return told if thawed else told + await move(session, device, "frozen", "arrears", by)
        case "clean":
            return await cleaned(session, device, by)
        case "delete":
            return await deleted(session, device, by)
        case kind:
            raise ValueError(f"{kind} settles nothing here")


async def _running(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    freed = await _free_address(session, device, outcome.result["adbPort"])
    device.adb_host, device.adb_port = outcome.result["adbHost"], outcome.result["adbPort"]
    reason = {"start": "started", "reboot": "rebooted", "reset": "reset"}[outcome.operation.kind]
    told = await move(session, device, "running", reason, outcome.operation.requested_by)
    return [*freed, *told, about(device, updated(device, ["adbHost", "adbPort"]))]


async def _free_address(session: AsyncSession, device: DeviceRow, port: int) -> list[Announcement]:
    """A port of a node is one phone's at a time: whichever other device was there is there no more."""
    others = sa.select(DeviceRow).where(
        DeviceRow.node_id == device.node_id, DeviceRow.adb_port == port, DeviceRow.id != device.id
    )
    found = (await session.scalars(others.with_for_update())).all()
    for other in found:
        other.adb_host = other.adb_port = None
    await session.flush()
    return [about(other, updated(other, ["adbHost", "adbPort"])) for other in found]


async def _off(session: AsyncSession, device: DeviceRow, reason: str, by: str) -> list[Announcement]:
    device.adb_host = device.adb_port = None
    return await move(session, device, "stopped", reason, by)


async def cleaned(session: AsyncSession, device: DeviceRow, by: str) -> list[Announcement]:
    """Idle, and its next volume will be a new one: no name of a volume comes again."""
    device.generation += 1
    device.volume_name = device.container_id = device.adb_host = device.adb_port = None
    device.last_error = None
    gone = await forget_snapshots(session, device)
    return gone + await move(session, device, "idle", "cleaned", by)


async def deleted(session: AsyncSession, device: DeviceRow, by: str) -> list[Announcement]:
    """The row stays as a tombstone, without its owner."""
    told = await forget_snapshots(session, device)
    holder = held(device.owner_id)
    device.owner_id = device.owner_name = device.owner_email = device.allocation_id = None
    device.volume_name = device.container_id = device.adb_host = device.adb_port = None
    device.desired_state = "deleted"
    device.deleted_at = datetime.now(UTC)
    told += await move(session, device, "deleted", "nothing is left of it", by)
    gone = DeviceDeleted(device_id=device.id, tenant_id=device.tenant_id)
    return [*told, Announcement(event=gone, entities=holder, deleted=[entities.device(device.id)])]

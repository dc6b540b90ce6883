"""What the platform does with a device unasked, so that it becomes what is wanted of it."""

from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.errors import Conflict

from ..models import DeviceRow, DeviceRunRow
from ..moves import ClosedBy, move
from ..operations.job import Outcome, Settlements
from .commands import accept
from .copies import settle_snapshot
from .settling import ACTOR, BUSY, recover_later, settle

log: structlog.stdlib.BoundLogger = structlog.get_logger()


STEADY = 600.0
"""Seconds that a phone has to run before its next end counts as its first."""


async def settle_and_converge(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    """How every work of a device's life ends: what was wanted meanwhile follows at once, unless it failed."""
    told = await settle(session, device, outcome)
    return told if device.state == "error" else told + await converge(session, device)


async def converge(session: AsyncSession, device: DeviceRow) -> list[Announcement]:
    """The next step from the state of a locked device towards its desired one; nothing where that has to wait, or may
    not be."""
    step = _next_step(device)
    if step is None:
        return []
    wanted = device.desired_state
    try:
        _, told = await accept(session, device, step, by=ACTOR, force=True, unasked=True)
    except Conflict as refused:
        log.info("device_left_alone", device_id=str(device.id), state=device.state, reason=str(refused))
        return []
    device.desired_state = wanted
    return told


async def take_back(session: AsyncSession, device: DeviceRow, reason: str, by: str) -> list[Announcement]:
    """From its user, whatever it does: it is cleaned now, or as soon as it has come to rest."""
    if device.state in ("idle", "maintenance", "creating", "cleaning", "deleting", "deleted"):
        return []
    device.desired_state, device.recoveries = "idle", 0
    if _next_step(device) != "clean":
        return await converge(session, device)
    return (await accept(session, device, "clean", by=by, unasked=True, reason=reason))[1]


def _next_step(device: DeviceRow) -> OperationKind | None:
    match device.desired_state, device.state:
        case "idle", "allocated" | "stopped" | "frozen" | "error":
            return "clean"
        case "idle", "running" | "starting":
            return "stop"
        case "frozen", "running" | "starting" | "stopped" | "error":
            return "freeze"
        case "running", "error":
            return "start"
        case _:
            return None


async def phone_lost(
    session: AsyncSession, device_id: UUID, run_id: UUID, error: str, *, closed_by: ClosedBy = "heartbeat"
) -> list[Announcement]:
    """The phone of this run has ended by itself: the run ends when it was last seen, and the device is started again
    after a while. Nothing where the device runs no more, or another run. The caller announces what is returned.
    """
    device = await session.get_one(DeviceRow, device_id, with_for_update=True, populate_existing=True)
    if device.state != "running" or device.run_id != run_id:
        return []
    told = await move(session, device, "error", "phone-lost", ACTOR, closed_by=closed_by)
    device.last_error = error[:1000]
    device.adb_host = device.adb_port = None
    run = await session.get_one(DeviceRunRow, run_id)
    if (run.last_seen_at - run.started_at).total_seconds() > STEADY:
        device.recoveries = 0
    recover_later(device)
    return told


SETTLE: Settlements = {**dict.fromkeys(BUSY, settle_and_converge), "delete_snapshot": settle_snapshot}

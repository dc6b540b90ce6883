"""What the platform does with a device unasked, so that it becomes what is wanted of it."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database.outbox import Announcement

from ..models import DeviceRow
from ..moves import ClosedBy, move
from .commands import accept
from .settling import ACTOR, recover_later


async def converge(session: AsyncSession, device: DeviceRow) -> list[Announcement]:
    """The next step from the state of a locked device towards its desired one; nothing where that has to wait.

    Raises what `accept` does.
    """
    step = _next_step(device)
    if step is None:
        return []
    if device.state == "error":
        device.recoveries += 1
    wanted = device.desired_state
    _, told = await accept(session, device, step, by=ACTOR, force=True, unasked=True)
    device.desired_state = wanted
    return told


def _next_step(device: DeviceRow) -> OperationKind | None:
    match device.desired_state, device.state:
        case "idle", "allocated" | "stopped" | "frozen" | "error":
            return "clean"
        case "idle" | "frozen", "running" | "starting":
            return "stop" if device.desired_state == "idle" else "freeze"
        case "frozen", "stopped" | "error":
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
    recover_later(device)
    return told

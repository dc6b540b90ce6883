"""Asking for the end of an operation before it has ended by itself."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database.outbox import announce_all
from cloudphone_shared.errors import Conflict, NotFound

from ..models import DeviceRow, OperationRow
from ..operations.job import ON_THE_PHONE
from ..operations.requesting import ask_to_cancel
from .commands import PERMISSIONS, Versions, accept

CANCELLABLE: frozenset[OperationKind] = frozenset({*ON_THE_PHONE, "start", "snapshot"})
"""What can be ended half-way with the device as it was, or off. Anything else goes on to its end."""


async def cancel(session: AsyncSession, caller: Caller, operation_id: UUID) -> tuple[OperationRow, Versions]:
    """Raises NotFound, Forbidden, and Conflict for what has ended, or has to go on to its end.

    A start is cancelled by a stop, which turns off what is on already.
    """
    row = await session.get(OperationRow, operation_id)
    if row is None or not caller.sees(row.tenant_id, row.owner_id):
        raise NotFound
    caller.require(PERMISSIONS.get(row.kind, "devices:write"))
    device = await session.get_one(DeviceRow, row.device_id, with_for_update=True, populate_existing=True)
    await session.refresh(row, with_for_update=True)
    if row.finished_at is not None:
        raise Conflict(f"The operation has {row.state} already")
    if row.kind not in CANCELLABLE:
        raise Conflict(f"A {row.kind} has to go on to its end")
    told = ask_to_cancel(row, device.owner_id)
    if row.kind == "start" and device.state == "starting":
        told += (await accept(session, device, "stop", by=caller.id, reason="start cancelled"))[1]
    return row, await announce_all(session, told)

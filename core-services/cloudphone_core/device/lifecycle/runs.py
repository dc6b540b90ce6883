"""The stretches in which devices ran: what usage is charged by."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.device import DeviceRun

from ..models import DeviceRow, DeviceRunRow

_SHOWN = tuple(name for name in DeviceRun.__struct_fields__ if name != "tenant_id")


async def runs(session: AsyncSession, caller: Caller, run_ids: Sequence[UUID]) -> Answer[Many[DeviceRun]]:
    """True for the moment, under no version."""
    found = await session.execute(
        sa.select(DeviceRunRow, DeviceRow)
        .join(DeviceRow, DeviceRow.id == DeviceRunRow.device_id)
        .where(DeviceRunRow.run_id.in_(run_ids))
    )
    seen = {
        str(run.run_id): Answer(data=_run(run, device), entities={})
        for run, device in found
        if caller.sees(device.tenant_id, run.user_id)
    }
    absent: dict[str, dict[str, int]] = {str(run_id): {} for run_id in run_ids if str(run_id) not in seen}
    return Answer(data=Many(found=seen, absent=absent), entities={})


def _run(run: DeviceRunRow, device: DeviceRow) -> DeviceRun:
    return DeviceRun(tenant_id=device.tenant_id, **{name: getattr(run, name) for name in _SHOWN})

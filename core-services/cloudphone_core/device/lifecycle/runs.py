"""The stretches in which devices ran: what usage is charged by."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.device import DeviceRun

from ..models import DeviceRow, DeviceRunRow


async def runs(session: AsyncSession, caller: Caller, run_ids: Sequence[UUID]) -> Answer[list[DeviceRun]]:
    """True for the moment, under no version."""
    found = await session.execute(
        sa.select(DeviceRunRow, DeviceRow)
        .join(DeviceRow, DeviceRow.id == DeviceRunRow.device_id)
        .where(DeviceRunRow.run_id.in_(run_ids))
        .order_by(DeviceRunRow.run_id)
    )
    seen = [run for run, device in found if caller.sees(device.tenant_id, device.owner_id)]
    return Answer(data=msgspec.convert(seen, list[DeviceRun], from_attributes=True), entities={})

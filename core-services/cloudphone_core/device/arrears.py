"""Users who owe: what they hold is stopped and frozen, and thawed when they owe no more."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database.outbox import Announcement, announce_all

from .lifecycle.commands import accept
from .lifecycle.converging import converge
from .models import ArrearsRow, DeviceRow

_ACTOR = "billing"


async def follow_arrears(session: AsyncSession, user_id: UUID, *, version: int, owes: bool) -> None:
    """Freezes or thaws the user's devices, those that are busy once they have come to rest. Older news than what is
    known change nothing."""
    if not await _learnt(session, user_id, version, owes):
        return
    held = sa.select(DeviceRow).where(DeviceRow.owner_id == user_id, DeviceRow.deleted_at.is_(None))
    told: list[Announcement] = []
    for device in (await session.scalars(held.order_by(DeviceRow.id).with_for_update())).all():
        told += await (_freeze(session, device) if owes else _thaw(session, device))
    await announce_all(session, told)


async def _learnt(session: AsyncSession, user_id: UUID, version: int, owes: bool) -> bool:
    news = {"version": version, "owes": owes}
    written = await session.execute(
        insert(ArrearsRow)
        .values(user_id=user_id, **news)
        .on_conflict_do_update(index_elements=[ArrearsRow.user_id], set_=news, where=ArrearsRow.version < version)
        .returning(ArrearsRow.user_id)
    )
    return written.one_or_none() is not None


async def _freeze(session: AsyncSession, device: DeviceRow) -> list[Announcement]:
    """One that was never started has nothing to be frozen; its start is refused as long as its owner owes."""
    if device.state in ("allocated", "frozen") or device.desired_state in ("idle", "deleted"):
        return []
    device.desired_state, device.recoveries = "frozen", 0
    return await converge(session, device)


async def _thaw(session: AsyncSession, device: DeviceRow) -> list[Announcement]:
    if device.desired_state == "frozen":
        device.desired_state = "stopped"
    if device.state != "frozen":
        return []
    return (await accept(session, device, "unfreeze", by=_ACTOR, unasked=True))[1]

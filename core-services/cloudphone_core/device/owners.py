"""What is known here of the users who hold devices: a copy, as new as the newest that was heard of each."""

from typing import cast
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from .models import DeviceRow, OwnerRow


async def learn_owner(
    session: AsyncSession, user_id: UUID, *, version: int, name: str = "", email: str = "", deleted: bool = False
) -> OwnerRow:
    """The owner as newest known, its row locked until the transaction ends; older news than that change nothing.

    Whoever assigns a device and whoever hears of a change of its owner meet at this lock, so a name that was read
    before the change never outlives it. Take it before a device's.
    """
    news = {"version": version, "name": name, "email": email, "deleted": deleted}
    await session.execute(
        insert(OwnerRow)
        .values(id=user_id, **news)
        .on_conflict_do_update(index_elements=[OwnerRow.id], set_=news, where=OwnerRow.version < version)
    )
    return cast(OwnerRow, await session.get(OwnerRow, user_id, with_for_update=True, populate_existing=True))


async def copy_owner(session: AsyncSession, owner: OwnerRow) -> None:
    """Writes the copy into every device held. A copy has no version of its own: nothing is announced."""
    await session.execute(
        update(DeviceRow)
        .where(DeviceRow.owner_id == owner.id)
        .values(owner_name=owner.name or None, owner_email=owner.email or None)
        .execution_options(synchronize_session=False)
    )

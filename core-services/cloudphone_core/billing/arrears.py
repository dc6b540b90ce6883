"""Users who owe. Each use case works in the caller's transaction; the device service freezes what they hold."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import Arrears
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.database.pagination import Cursors, Sorts, page
from cloudphone_shared.errors import NotFound
from cloudphone_shared.events.billing import ArrearsBegan, ArrearsEnded
from cloudphone_shared.http.lists import ListQuery

from .models import ArrearsRow

_SORTS = Sorts({"since": ArrearsRow.since}, tiebreak=ArrearsRow.user_id, default="-since")


async def begin(session: AsyncSession, user: User, reason: str, at: datetime) -> dict[str, int]:
    """What changed, with versions. Again, it changes the reason alone."""
    noted = insert(ArrearsRow).values(user_id=user.id, tenant_id=user.tenant_id, reason=reason, since=at)
    anew = noted.on_conflict_do_update(
        index_elements=[ArrearsRow.user_id],
        set_={"reason": noted.excluded.reason},
        where=ArrearsRow.reason != noted.excluded.reason,
    )
    if await session.scalar(anew.returning(ArrearsRow.user_id)) is None:
        return {}
    # Announced again with a new reason: who freezes what is frozen changes nothing.
    event = ArrearsBegan(user_id=user.id, tenant_id=user.tenant_id, reason=reason)
    return await announce(session, event, entities.arrears(user.id))


async def end(session: AsyncSession, caller: Caller, user_id: UUID) -> dict[str, int]:
    """What changed, with versions; nothing for a user who owes nothing. Raises NotFound for one of another tenant."""
    row = await session.get(ArrearsRow, user_id, with_for_update=True)
    if row is None:
        return {}
    if not caller.sees(row.tenant_id, user_id):
        raise NotFound("There is no such user")
    await session.delete(row)
    event = ArrearsEnded(user_id=user_id, tenant_id=row.tenant_id)
    return await announce(session, event, entities.arrears(user_id))


async def of_user(session: AsyncSession, user_id: UUID) -> Answer[Arrears | None]:
    row = await session.get(ArrearsRow, user_id)
    found = None if row is None else msgspec.convert(row, Arrears, from_attributes=True)
    return Answer(data=found, entities=await versions_of(session, entities.arrears(user_id)))


async def page_of(session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors) -> Page[Arrears]:
    tenant = None if caller.data_scope == "all" else UUID(caller.tenant_id)
    statement = select(ArrearsRow) if tenant is None else select(ArrearsRow).where(ArrearsRow.tenant_id == tenant)
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"arrears {tenant}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    items = [msgspec.convert(row, Arrears, from_attributes=True) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor)

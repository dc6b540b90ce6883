"""Users who owe. Each use case works in the caller's transaction; the device service freezes what they hold."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import Insert, insert
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

from .models import ArrearsRow, ArrearsSource

_SORTS = Sorts({"since": ArrearsRow.since}, tiebreak=ArrearsRow.user_id, default="-since")


async def begin(session: AsyncSession, user: User, reason: str, at: datetime) -> dict[str, int]:
    """What changed, with versions. Again, it changes the reason alone; and it makes an invoice's the operator's, so
    that no payment ends them."""
    noted = _noted(user.tenant_id, user.id, reason, "operator", at)
    anew = noted.on_conflict_do_update(
        index_elements=[ArrearsRow.user_id],
        set_={"reason": noted.excluded.reason, "source": noted.excluded.source},
        where=or_(ArrearsRow.reason != noted.excluded.reason, ArrearsRow.source != noted.excluded.source),
    )
    return await _begun(session, anew, user.tenant_id, user.id, reason)


async def begin_for_invoice(
    session: AsyncSession, tenant_id: UUID, user_id: UUID, reason: str, at: datetime
) -> dict[str, int]:
    """What changed, with versions; nothing for a user who owes already."""
    noted = _noted(tenant_id, user_id, reason, "invoice", at)
    once = noted.on_conflict_do_nothing(index_elements=[ArrearsRow.user_id])
    return await _begun(session, once, tenant_id, user_id, reason)


async def end_for_invoices(session: AsyncSession, user_id: UUID) -> dict[str, int]:
    """What changed, with versions: what an operator began stays."""
    row = await session.get(ArrearsRow, user_id, with_for_update=True, populate_existing=True)
    return {} if row is None or row.source != "invoice" else await _ended(session, row)


async def end(session: AsyncSession, caller: Caller, user_id: UUID) -> dict[str, int]:
    """What changed, with versions; nothing for a user who owes nothing. Raises NotFound for one of another tenant."""
    row = await session.get(ArrearsRow, user_id, with_for_update=True)
    if row is None:
        return {}
    if not caller.sees(row.tenant_id, user_id):
        raise NotFound("There is no such user")
    return await _ended(session, row)


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


def _noted(tenant_id: UUID, user_id: UUID, reason: str, source: ArrearsSource, at: datetime) -> Insert:
    return insert(ArrearsRow).values(user_id=user_id, tenant_id=tenant_id, reason=reason, source=source, since=at)


async def _begun(session: AsyncSession, noted: Insert, tenant_id: UUID, user_id: UUID, reason: str) -> dict[str, int]:
    if await session.scalar(noted.returning(ArrearsRow.user_id)) is None:
        return {}
    # Announced again with a new reason: who freezes what is frozen changes nothing.
    event = ArrearsBegan(user_id=user_id, tenant_id=tenant_id, reason=reason)
    return await announce(session, event, entities.arrears(user_id))


async def _ended(session: AsyncSession, row: ArrearsRow) -> dict[str, int]:
    await session.delete(row)
    event = ArrearsEnded(user_id=row.user_id, tenant_id=row.tenant_id)
    return await announce(session, event, entities.arrears(row.user_id))

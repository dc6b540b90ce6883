"""Money given or taken by hand: one function per use case, in the caller's transaction."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.ledger import Adjustment, AdjustmentCreate, AdjustmentState
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Announcement, announce_all
from cloudphone_shared.database.pagination import Cursors, Sorts, equal, page
from cloudphone_shared.errors import FieldError, Forbidden, Invalid, NotFound, StateConflict
from cloudphone_shared.events.billing import AdjustmentChanged
from cloudphone_shared.http.lists import ListQuery
from cloudphone_shared.ids import uuid7

from ..handling import own_id
from . import transfers
from .models import AdjustmentRow
from .queries import tenant_seen
from .transfers import Posting, of_tenant, wallet

_SORTS = Sorts({"requestedAt": AdjustmentRow.requested_at}, tiebreak=AdjustmentRow.id, default="-requestedAt")
_TOGETHER = timedelta(hours=24)
"""What one person did to one wallet within this time counts as one adjustment: a large sum in small pieces is large."""


async def ask(
    session: AsyncSession, caller: Caller, user: User, wanted: AdjustmentCreate, *, limit: int, at: datetime
) -> Answer[Adjustment]:
    """Applied at once unless it is beyond `limit` minor units or one's own wallet: then it waits for another person.

    Raises InsufficientFunds where more is taken than there is.
    """
    if not wanted.amount:
        raise Invalid(errors=[FieldError(field="amount", message="moves nothing")])
    row = AdjustmentRow(
        id=uuid7(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        amount=wanted.amount,
        currency=wanted.currency,
        reason=wanted.reason,
        state="waiting",
        requested_by=own_id(caller),
        requested_at=at,
    )
    session.add(row)
    announcing: transfers.Announcing = []
    if row.requested_by != user.id and await _already(session, row) + abs(row.amount) <= limit:
        await _apply(session, row, at, announcing)
    return await _told(session, row, announcing)


async def approve(
    session: AsyncSession, caller: Caller, adjustment_id: UUID, reason: str, at: datetime
) -> Answer[Adjustment]:
    """Raises Forbidden for who asked for it, StateConflict unless it waits, InsufficientFunds."""
    row = await _to_decide(session, caller, adjustment_id)
    announcing: transfers.Announcing = []
    row.decided_by, row.decision = own_id(caller), reason
    await _apply(session, row, at, announcing)
    return await _told(session, row, announcing)


async def reject(
    session: AsyncSession, caller: Caller, adjustment_id: UUID, reason: str, at: datetime
) -> Answer[Adjustment]:
    """Raises Forbidden for who asked for it, StateConflict unless it waits."""
    row = await _to_decide(session, caller, adjustment_id)
    row.state, row.decided_by, row.decided_at, row.decision = "rejected", own_id(caller), at, reason
    return await _told(session, row, [])


async def page_of(
    session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors, *, state: AdjustmentState | None
) -> Answer[Page[Adjustment]]:
    tenant_id = tenant_seen(caller)
    wanted = sa.select(AdjustmentRow).where(*equal((AdjustmentRow.tenant_id, tenant_id), (AdjustmentRow.state, state)))
    found = await page(
        session, wanted, _SORTS.parse(asked.sort), cursors=cursors, scope=f"adjustments {tenant_id} {state}",
        cursor=asked.cursor, limit=asked.limit,
    )  # fmt: skip
    return Answer(data=Page(items=[_shown(row) for row in found.items], next_cursor=found.next_cursor), entities={})


async def _already(session: AsyncSession, row: AdjustmentRow) -> int:
    """What the person has lately given and taken there alone. Two of the same person's requests take turns."""
    name = f"adjusting {row.requested_by} {row.user_id}"
    await session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))
    lately = sa.select(sa.func.coalesce(sa.func.sum(sa.func.abs(AdjustmentRow.amount)), 0)).where(
        AdjustmentRow.user_id == row.user_id,
        AdjustmentRow.requested_by == row.requested_by,
        AdjustmentRow.currency == row.currency,
        AdjustmentRow.state == "applied",
        AdjustmentRow.decided_by.is_(None),
        AdjustmentRow.requested_at > row.requested_at - _TOGETHER,
    )
    return int((await session.execute(lately)).scalar_one())


async def _apply(session: AsyncSession, row: AdjustmentRow, at: datetime, announcing: transfers.Announcing) -> None:
    moved = await transfers.transfer(
        session,
        key=f"adjustment:{row.id}",
        kind="adjustment",
        postings=[
            Posting(wallet(row.tenant_id, row.user_id, row.currency), row.amount),
            Posting(of_tenant(row.tenant_id, "goodwill", row.currency), -row.amount),
        ],
        reason=row.reason,
        reference=f"adjustment:{row.id}",
        actor=str(row.decided_by or row.requested_by),
        at=at,
        announcing=announcing,
    )
    row.state, row.decided_at, row.transfer_id = "applied", at, moved.id


async def _to_decide(session: AsyncSession, caller: Caller, adjustment_id: UUID) -> AdjustmentRow:
    row = await session.get(AdjustmentRow, adjustment_id, with_for_update=True)
    if row is None or tenant_seen(caller) not in (None, row.tenant_id):
        raise NotFound("There is no such adjustment")
    if own_id(caller) in (row.requested_by, row.user_id):
        raise Forbidden("Somebody else decides than who asked for it or would have it")
    if row.state != "waiting":
        raise StateConflict(f"The adjustment was {row.state}", current_state=row.state, allowed=[])
    return row


async def _told(session: AsyncSession, row: AdjustmentRow, announcing: transfers.Announcing) -> Answer[Adjustment]:
    event = AdjustmentChanged(
        adjustment_id=row.id,
        user_id=row.user_id,
        amount=row.amount,
        currency=row.currency,
        state=row.state,
        tenant_id=row.tenant_id,
    )
    announced = await announce_all(session, [*announcing, Announcement(event=event)])
    return Answer(data=_shown(row), entities=announced)


def _shown(row: AdjustmentRow) -> Adjustment:
    return msgspec.convert(row, Adjustment, from_attributes=True)

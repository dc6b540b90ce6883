"""What users say of apps: one review each, and an average that counts every one once."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import Review, ReviewWrite
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.database import Cursors, Sorts, page, versions_of
from cloudphone_shared.errors import Forbidden, NotFound
from cloudphone_shared.http.lists import ListQuery
from cloudphone_shared.ids import uuid7

from . import service
from .models import AppRow, ReviewRow
from .scope import seen_by, tenant_of

_SORTS = Sorts(
    {"updatedAt": ReviewRow.updated_at, "rating": ReviewRow.rating}, tiebreak=ReviewRow.id, default="-updatedAt"
)


async def review_page(
    session: AsyncSession, caller: Caller, app_id: UUID, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Review]]:
    shown = await versions_of(session, entities.app(app_id))
    if await session.scalar(select(AppRow.id).where(AppRow.id == app_id, seen_by(caller))) is None:
        raise NotFound(entities=shown)
    found = await page(
        session,
        select(ReviewRow).where(ReviewRow.app_id == app_id),
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"reviews {app_id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    items = [_shown(row) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def write_review(
    session: AsyncSession, caller: Caller, app_id: UUID, new: ReviewWrite, at: datetime
) -> Answer[Review]:
    """In the place of the caller's earlier one. Raises Forbidden for who is no user."""
    if caller.kind != "user":
        raise Forbidden("Reviews are written by users")
    app = await _locked_app(session, app_id, caller)
    mine = select(ReviewRow).where(ReviewRow.app_id == app_id, ReviewRow.user_id == UUID(caller.id))
    row = (await session.scalars(mine)).one_or_none()
    if row is None:
        row = ReviewRow(
            id=uuid7(),
            app_id=app_id,
            user_id=UUID(caller.id),
            tenant_id=tenant_of(caller),
            rating=new.rating,
            text=new.text,
            created_at=at,
            updated_at=at,
        )
        session.add(row)
        _count(app, new.rating, 1)
    else:
        _count(app, new.rating - row.rating, 0)
        row.rating, row.text, row.updated_at = new.rating, new.text, at
    await service.announce_app(session, app, "reviews")
    return Answer(data=_shown(row), entities=await versions_of(session, entities.app(app_id)))


async def delete_review(session: AsyncSession, caller: Caller, review_id: UUID) -> dict[str, int]:
    """One's own, or any of an app that one manages. Raises NotFound, Forbidden."""
    app_id = await session.scalar(select(ReviewRow.app_id).where(ReviewRow.id == review_id))
    if app_id is None:
        raise NotFound
    app = await _locked_app(session, app_id, caller)
    row = await session.get(ReviewRow, review_id)
    if row is None:
        raise NotFound
    if str(row.user_id) != caller.id:
        caller.require("apps:manage")
        await service.app_to_change(session, caller, app_id, None)
    _count(app, -row.rating, -1)
    await session.delete(row)
    await service.announce_app(session, app, "reviews")
    return await versions_of(session, entities.app(app_id))


def _count(app: AppRow, rating: int, reviews: int) -> None:
    app.rating_sum += rating
    app.review_count += reviews
    app.rating = app.rating_sum / app.review_count if app.review_count else 0.0


async def _locked_app(session: AsyncSession, app_id: UUID, caller: Caller) -> AppRow:
    """The row's lock is what keeps two reviews at once from losing one another's count."""
    statement = select(AppRow).where(AppRow.id == app_id, seen_by(caller)).with_for_update()
    app = (await session.scalars(statement)).one_or_none()
    if app is None:
        raise NotFound
    return app


def _shown(row: ReviewRow) -> Review:
    return msgspec.convert(row, Review, from_attributes=True)

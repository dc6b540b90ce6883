"""What billing answers about sagas."""

from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Page
from cloudphone_shared.contracts.purchase import Saga, SagaFull, SagaState, SagaStep, SagaTotals
from cloudphone_shared.database.pagination import Cursors, Sorts, equal, page
from cloudphone_shared.http.lists import ListQuery

from .models import SagaRow, SagaStepRow
from .operating import seen

_SORTS = Sorts(
    {"createdAt": SagaRow.created_at, "updatedAt": SagaRow.updated_at}, tiebreak=SagaRow.id, default="-createdAt"
)


class SagaFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: SagaState | None
    user_id: UUID | None
    alarmed: bool | None


async def sagas(
    session: AsyncSession, caller: Caller, wanted: SagaFilter, asked: ListQuery, cursors: Cursors
) -> Page[Saga]:
    alarmed: list[ColumnElement[bool]] = []
    if wanted.alarmed is not None:
        alarmed.append(SagaRow.alarmed_at.is_not(None) if wanted.alarmed else SagaRow.alarmed_at.is_(None))
    statement = select(SagaRow).where(
        *_within_scope(caller), *alarmed, *equal((SagaRow.state, wanted.state), (SagaRow.user_id, wanted.user_id))
    )
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"sagas {wanted} for {caller.data_scope} {caller.tenant_id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return Page(items=[_saga(row) for row in found.items], next_cursor=found.next_cursor)


async def saga(session: AsyncSession, caller: Caller, saga_id: UUID) -> SagaFull:
    row = await seen(session, caller, saga_id)
    steps = select(SagaStepRow).where(SagaStepRow.saga_id == saga_id).order_by(SagaStepRow.number)
    timeline = [msgspec.convert(step, SagaStep, from_attributes=True) for step in await session.scalars(steps)]
    return SagaFull(saga=_saga(row), timeline=timeline)


async def totals(session: AsyncSession, caller: Caller) -> SagaTotals:
    counted = select(
        SagaRow.state,
        func.count(),
        func.count(SagaRow.alarmed_at),
        func.min(SagaRow.created_at).filter(SagaRow.state == "waiting"),
    ).where(*_within_scope(caller)).group_by(SagaRow.state)  # fmt: skip
    rows = (await session.execute(counted)).all()
    return SagaTotals(
        by_state={state: count for state, count, _, _ in rows},
        alarmed=sum(alarmed for _, _, alarmed, _ in rows),
        oldest_waiting_at=next((oldest for _, _, _, oldest in rows if oldest), None),
    )


def _within_scope(caller: Caller) -> list[ColumnElement[bool]]:
    """Who sees only himself has no business with sagas."""
    return [] if caller.data_scope == "all" else [SagaRow.tenant_id == UUID(caller.tenant_id)]


def _saga(row: SagaRow) -> Saga:
    return msgspec.convert(row, Saga, from_attributes=True)

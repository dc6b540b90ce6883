"""What billing answers about payments. Each function wants a session of `reading()`, or the writing one that holds the
payment's row."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.payment import (
    Dispute,
    DisputeState,
    Payment,
    PaymentEvent,
    PaymentPurpose,
    PaymentReconciliation,
    PaymentState,
    PaymentSummary,
    Refund,
    RefundState,
    WebhookDelivery,
)
from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.database.pagination import Cursors, Sorts, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import (
    DisputeRow,
    PaymentEventRow,
    PaymentReconciliationRow,
    PaymentRow,
    RefundRow,
    WebhookDeliveryRow,
)

_SORTS = Sorts(
    {"createdAt": PaymentRow.created_at, "amount": PaymentRow.amount, "state": PaymentRow.state},
    tiebreak=PaymentRow.id,
    default="-createdAt",
)
_REFUND_SORTS = Sorts(
    {"createdAt": RefundRow.created_at, "amount": RefundRow.amount}, tiebreak=RefundRow.id, default="-createdAt"
)
_DISPUTE_SORTS = Sorts(
    {"openedAt": DisputeRow.opened_at, "amount": DisputeRow.amount}, tiebreak=DisputeRow.id, default="-openedAt"
)
_DELIVERY_SORTS = Sorts({"id": WebhookDeliveryRow.id}, tiebreak=WebhookDeliveryRow.id, default="-id")
_RECONCILIATION_SORTS = Sorts(
    {"day": PaymentReconciliationRow.day, "startedAt": PaymentReconciliationRow.started_at},
    tiebreak=PaymentReconciliationRow.id,
    default="-startedAt",
)


class PaymentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: PaymentState | None = None
    user_id: UUID | None = None
    purpose: PaymentPurpose | None = None
    method: PaymentMethod | None = None
    order_id: UUID | None = None


async def payment(session: AsyncSession, caller: Caller, payment_id: UUID) -> Answer[Payment]:
    row = await session.get(PaymentRow, payment_id)
    shown = await versions_of(session, entities.payment(payment_id))
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound(entities=shown)
    events = select(PaymentEventRow).where(PaymentEventRow.payment_id == row.id).order_by(PaymentEventRow.number)
    history = [
        PaymentEvent(state=event.state, reason=event.reason, at=event.at) for event in await session.scalars(events)
    ]
    found = Payment(
        **{name: getattr(row, name) for name in _PLAIN}, history=history, version=shown[entities.payment(row.id)]
    )
    return Answer(data=found, entities=shown)


class RefundFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: RefundState | None = None
    user_id: UUID | None = None
    order_id: UUID | None = None
    payment_id: UUID | None = None


async def refund_page(
    session: AsyncSession, caller: Caller, wanted: RefundFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Refund]]:
    statement = select(RefundRow).where(
        *within_scope(caller, RefundRow),
        *equal(
            (RefundRow.state, wanted.state),
            (RefundRow.user_id, wanted.user_id),
            (RefundRow.order_id, wanted.order_id),
            (RefundRow.payment_id, wanted.payment_id),
        ),
    )
    found = await _page(session, statement, _REFUND_SORTS, f"refunds {wanted}", caller, asked, cursors)
    shown = [entities.payment(row.payment_id) for row in found.items]
    if wanted.payment_id is not None:
        shown.append(entities.payment(wanted.payment_id))
    page_of = Page(items=[refund(row) for row in found.items], next_cursor=found.next_cursor)
    return Answer(data=page_of, entities=await versions_of(session, *set(shown)))


async def one_refund(session: AsyncSession, caller: Caller, refund_id: UUID) -> Answer[Refund]:
    row = await session.get(RefundRow, refund_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound("There is no such refund")
    shown = await versions_of(session, entities.payment(row.payment_id), entities.payments_of(row.user_id))
    return Answer(data=refund(row), entities=shown)


def refund(row: RefundRow) -> Refund:
    return msgspec.convert(row, Refund, from_attributes=True)


async def payment_page(
    session: AsyncSession, caller: Caller, wanted: PaymentFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[PaymentSummary]]:
    statement = select(PaymentRow).where(
        *within_scope(caller, PaymentRow),
        *equal(
            (PaymentRow.state, wanted.state),
            (PaymentRow.user_id, wanted.user_id),
            (PaymentRow.purpose, wanted.purpose),
            (PaymentRow.method, wanted.method),
            (PaymentRow.order_id, wanted.order_id),
        ),
    )
    found = await _page(session, statement, _SORTS, f"payments {wanted}", caller, asked, cursors)
    names = [entities.payment(row.id) for row in found.items]
    if wanted.user_id is not None:
        names.append(entities.payments_of(wanted.user_id))
    items = [msgspec.convert(row, PaymentSummary, from_attributes=True) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=await versions_of(session, *names))


async def dispute_page(
    session: AsyncSession, caller: Caller, state: DisputeState | None, asked: ListQuery, cursors: Cursors
) -> Page[Dispute]:
    statement = select(DisputeRow).where(*within_scope(caller, DisputeRow), *equal((DisputeRow.state, state)))
    found = await _page(session, statement, _DISPUTE_SORTS, f"disputes {state}", caller, asked, cursors)
    items = [msgspec.convert(row, Dispute, from_attributes=True) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


async def delivery_page(
    session: AsyncSession, caller: Caller, outcome: str | None, asked: ListQuery, cursors: Cursors
) -> Page[WebhookDelivery]:
    """Without bodies."""
    statement = select(WebhookDeliveryRow).where(*equal((WebhookDeliveryRow.outcome, outcome)))
    found = await _page(session, statement, _DELIVERY_SORTS, f"deliveries {outcome}", caller, asked, cursors)
    return Page(items=[_delivery(row) for row in found.items], next_cursor=found.next_cursor)


async def reconciliation_page(
    session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors
) -> Page[PaymentReconciliation]:
    statement = select(PaymentReconciliationRow)
    found = await _page(session, statement, _RECONCILIATION_SORTS, "reconciliations", caller, asked, cursors)
    items = [msgspec.convert(row, PaymentReconciliation, from_attributes=True) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


async def reconciliation(session: AsyncSession, reconciliation_id: UUID) -> PaymentReconciliation:
    row = await session.get(PaymentReconciliationRow, reconciliation_id)
    if row is None:
        raise NotFound("There is no such reconciliation")
    return msgspec.convert(row, PaymentReconciliation, from_attributes=True)


def within_scope(
    caller: Caller, of: type[PaymentRow] | type[RefundRow] | type[DisputeRow]
) -> list[ColumnElement[bool]]:
    """The rows that the caller may see."""
    if caller.data_scope == "all":
        return []
    try:
        tenant = caller.data_scope == "tenant"
        return [of.tenant_id == UUID(caller.tenant_id) if tenant else of.user_id == UUID(caller.id)]
    except ValueError:
        return [false()]


def _delivery(row: WebhookDeliveryRow) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id, provider=row.provider, event_id=row.event_id, type=row.type, outcome=row.outcome,
        detail=row.detail, received_at=row.received_at,
    )  # fmt: skip


async def _page(
    session: AsyncSession, statement: Any, sorts: Sorts, what: str, caller: Caller, asked: ListQuery, cursors: Cursors
) -> Any:
    return await page(
        session,
        statement,
        sorts.parse(asked.sort),
        cursors=cursors,
        scope=f"{what} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )


_PLAIN: Sequence[str] = [name for name in Payment.__struct_fields__ if name not in ("history", "version")]

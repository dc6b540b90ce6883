"""What billing answers about invoices. Each function wants a session of `reading()`, or the writing one that holds the
invoice's lock."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.invoice import (
    BillTo,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoicePreview,
    InvoiceState,
    InvoiceSummary,
    LineCharges,
)
from cloudphone_shared.database.pagination import Cursors, Sorts, containing, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from ..rating.models import ChargeRow
from ..rating.queries import charge_of
from ..rating.rate import shown
from .bill_to import Customer, names_of
from .issuing import open_drafts
from .lines import Draft, tax_totals
from .models import InvoiceLineRow, InvoiceRow
from .pdf import Printed

_SORTS = Sorts(
    {
        "issuedAt": InvoiceRow.issued_at,
        "dueAt": InvoiceRow.due_at,
        "total": InvoiceRow.total,
        "due": InvoiceRow.due,
        "state": InvoiceRow.state,
    },
    tiebreak=InvoiceRow.id,
    default="-issuedAt",
)
_CHARGES = Sorts({"startedAt": ChargeRow.started_at}, tiebreak=ChargeRow.id, default="startedAt")


class InvoiceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    user_id: UUID | None
    tenant_id: UUID | None
    state: InvoiceState | None
    kind: InvoiceKind | None


async def invoice_page(
    session: AsyncSession, caller: Caller, wanted: InvoiceFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[InvoiceSummary]]:
    """Searched by a part of the number. Raises Invalid for an unknown sort, InvalidCursor."""
    statement = select(InvoiceRow).where(
        *_within_scope(caller),
        *equal(
            (InvoiceRow.user_id, wanted.user_id),
            (InvoiceRow.tenant_id, wanted.tenant_id),
            (InvoiceRow.state, wanted.state),
            (InvoiceRow.kind, wanted.kind),
        ),
        *containing(asked.search, InvoiceRow.number),
    )
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"invoices {wanted} {asked.search!r} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    of_user = [entities.invoices_of(wanted.user_id)] if wanted.user_id else []
    shown = await versions_of(session, *of_user, *(entities.invoice(row.id) for row in found.items))
    items = [msgspec.convert(row, InvoiceSummary, from_attributes=True) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def invoice(session: AsyncSession, caller: Caller, invoice_id: UUID) -> Answer[Invoice]:
    row = await visible(session, caller, invoice_id)
    entity = entities.invoice(invoice_id)
    shown = await versions_of(session, entity)
    lines = [line async for line in lines_of(session, invoice_id)]
    to = msgspec.convert(row.bill_to, BillTo)
    summary = msgspec.convert(row, InvoiceSummary, from_attributes=True)
    contract = Invoice(
        **msgspec.structs.asdict(summary),
        bill_to=to,
        lines=lines,
        taxes=tax_totals(lines, await names_of(session, to.country, row.issued_at)),
        corrects=row.corrects,
        version=shown[entity],
    )
    return Answer(data=contract, entities=shown)


async def printed(session: AsyncSession, caller: Caller, invoice_id: UUID) -> Printed:
    """Raises NotFound for one outside the caller's data scope."""
    answer = await invoice(session, caller, invoice_id)
    row = await visible(session, caller, invoice_id)
    corrected = await session.get(InvoiceRow, row.corrects) if row.corrects else None
    return Printed(
        invoice=answer.data,
        seller=row.seller["name"],
        seller_tax_number=row.seller["tax_number"],
        seller_country=row.seller["country"],
        corrected=corrected and corrected.number,
        reason=row.reason,
    )


async def visible(session: AsyncSession, caller: Caller, invoice_id: UUID) -> InvoiceRow:
    """Raises NotFound for one outside the caller's data scope."""
    row = await session.get(InvoiceRow, invoice_id, populate_existing=True)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound(entities=await versions_of(session, entities.invoice(invoice_id)))
    return row


async def lines_of(session: AsyncSession, invoice_id: UUID) -> AsyncIterator[InvoiceLine]:
    """In the order of their numbers, as they are read."""
    row = InvoiceLineRow
    columns = [getattr(row, name) for name in InvoiceLine.__struct_fields__]
    rows = await session.stream(select(*columns).where(row.invoice_id == invoice_id).order_by(row.number))
    async for some in rows.partitions(1000):
        for each in some:
            yield InvoiceLine(**each._mapping)  # pyright: ignore[reportPrivateUsage]


async def line_charges(
    session: AsyncSession, caller: Caller, invoice_id: UUID, number: int, asked: ListQuery, cursors: Cursors
) -> Answer[LineCharges]:
    """The charges of a line of usage; none for an order's. Raises NotFound, InvalidCursor."""
    row = await visible(session, caller, invoice_id)
    if not 1 <= number <= row.line_count:
        raise NotFound(f"The invoice has no line {number}")
    of_line = InvoiceLineRow.invoice_id == invoice_id, InvoiceLineRow.number == number
    amount = (await session.scalars(select(InvoiceLineRow.amount).where(*of_line))).one()
    on_line = ChargeRow.invoice_id == invoice_id, ChargeRow.line_number == number
    worth = await session.scalar(select(func.coalesce(func.sum(ChargeRow.worth), 0)).where(*on_line))
    found = await page(
        session,
        select(ChargeRow).where(*on_line),
        _CHARGES.parse(asked.sort),
        cursors=cursors,
        scope=f"charges of {invoice_id} {number}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    charges = LineCharges(
        invoice_id=invoice_id,
        number=number,
        exact=shown(Decimal(worth or 0)),
        amount=amount,
        charges=[charge_of(row) for row in found.items],
        next_cursor=found.next_cursor,
    )
    return Answer(data=charges, entities=await versions_of(session, entities.invoice(invoice_id)))


async def preview(session: AsyncSession, who: Customer, at: datetime) -> Answer[list[InvoicePreview]]:
    """What an invoice issued at `at` would say. Wants a writing session that is given up afterwards."""
    found = [_preview(draft, at) for draft in await open_drafts(session, who, at)]
    return Answer(data=found, entities=await versions_of(session, entities.invoices_of(who.user_id)))


def _preview(draft: Draft, at: datetime) -> InvoicePreview:
    lines = [
        InvoiceLine(number=number, **{name: getattr(line, name) for name in InvoiceLine.__struct_fields__[1:]})
        for number, line in enumerate(draft.lines, 1)
    ]
    return InvoicePreview(
        currency=draft.currency,
        period_start=draft.first,
        period_end=at,
        total=draft.total,
        tax=draft.tax,
        paid=draft.paid,
        due=draft.total - draft.paid,
        lines=lines,
    )


def _within_scope(caller: Caller) -> Sequence[ColumnElement[bool]]:
    if caller.data_scope == "all":
        return ()
    try:
        if caller.data_scope == "tenant":
            return (InvoiceRow.tenant_id == UUID(caller.tenant_id),)
        return (InvoiceRow.user_id == UUID(caller.id),)
    except ValueError:
        return (false(),)

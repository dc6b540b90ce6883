"""Issuing invoices: what a customer bought and used and was not invoiced for, put on one invoice per currency.

All in the caller's transaction, which takes the number, so that an invoice that does not come to be leaves no gap.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.invoice import BillTo, InvoiceKind, InvoiceTerms
from cloudphone_shared.database import announce, copy_rows
from cloudphone_shared.errors import InsufficientFunds
from cloudphone_shared.events.billing import InvoiceIssued
from cloudphone_shared.ids import uuid7

from ..ledger import transfers
from ..ledger.transfers import Posting
from ..rating.charges import claim
from .bill_to import Customer, bill_to, terms_of
from .lines import Draft, Line, drafts
from .models import InvoiceLineRow, InvoiceRow
from .numbers import next_number
from .settling import left_of, state_of
from .sources import bought_by
from .taxes import rate_for
from .usage import used_by

_INSTANT = timedelta(microseconds=1)


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """Why and when invoices are issued. `month` is the monthly run's, which leaves out `but`, the currencies done."""

    actor: str
    at: datetime
    month: date | None = None
    but: frozenset[str] = frozenset()


async def open_drafts(session: AsyncSession, who: Customer, until: datetime) -> list[Draft]:
    """What `issue` would issue. Nobody else invoices the customer before the transaction ends."""
    # The charges first: they are read under the customer's lock, so what follows sees what was issued before.
    used = await used_by(session, who.user_id, until)
    bought = await bought_by(session, who, until)
    # Usage is taxed as of the last instant that the invoice is about.
    percent = await rate_for(session, who.tenant_id, who.user_id, until - _INSTANT)
    return drafts(bought, used, percent)


async def issue(session: AsyncSession, who: Customer, until: datetime, occasion: Occasion) -> list[InvoiceRow]:
    """One invoice per currency of what there is until `until`; none where there is nothing."""
    wanted = [one for one in await open_drafts(session, who, until) if one.currency not in occasion.but]
    if not wanted:
        return []
    terms = await terms_of(session, who.tenant_id)
    to = await bill_to(session, who, occasion.at)
    return [await _issue(session, who, draft, until, terms, to, occasion) for draft in wanted]


async def _issue(
    session: AsyncSession,
    who: Customer,
    draft: Draft,
    until: datetime,
    terms: InvoiceTerms,
    to: BillTo,
    occasion: Occasion,
) -> InvoiceRow:
    invoice_id = uuid7()
    await write_lines(session, invoice_id, draft.lines)
    await claim(session, invoice_id, {number: ids for number, ids in enumerate(draft.charge_ids, 1) if ids})
    due_at = occasion.at + timedelta(days=terms.days_to_pay)
    invoice = await numbered(
        session,
        who,
        "invoice",
        draft.lines,
        id=invoice_id,
        currency=draft.currency,
        period_start=min(draft.first, until - _INSTANT),
        period_end=until,
        issued_at=occasion.at,
        due_at=due_at,
        freeze_at=due_at + timedelta(days=terms.days_to_freeze),
        bill_to=msgspec.to_builtins(to, str_keys=True),
        seller=seller_of(terms),
        month=occasion.month,
        actor=occasion.actor,
    )
    taken = await _book(session, invoice, *draft.usage, actor=occasion.actor)
    invoice.paid, invoice.payments = draft.paid + taken, int(taken > 0)
    return await issued(session, invoice)


async def write_lines(session: AsyncSession, invoice_id: UUID, lines: Sequence[Line]) -> None:
    rows = [{"invoice_id": invoice_id, "number": number, **_columns(line)} for number, line in enumerate(lines, 1)]
    await copy_rows(session, InvoiceLineRow, rows)


async def numbered(
    session: AsyncSession, who: Customer, kind: InvoiceKind, lines: Sequence[Line], **fields: object
) -> InvoiceRow:
    """With the next number, not yet written: its row closes it."""
    at: datetime = fields["issued_at"]  # pyright: ignore[reportAssignmentType]
    return InvoiceRow(
        tenant_id=who.tenant_id,
        user_id=who.user_id,
        kind=kind,
        year=at.year,
        sequence=await next_number(session, who.tenant_id, kind, at.year),
        state="open",
        line_count=len(lines),
        total=sum(line.amount for line in lines),
        tax=sum(line.tax for line in lines),
        paid=0,
        credited=0,
        payments=0,
        **fields,
    )


async def issued(session: AsyncSession, invoice: InvoiceRow) -> InvoiceRow:
    invoice.state = state_of(invoice)
    session.add(invoice)
    await session.flush()
    event = InvoiceIssued(
        invoice_id=invoice.id,
        number=invoice.number,
        kind=invoice.kind,
        user_id=invoice.user_id,
        total=invoice.total,
        due=left_of(invoice),
        currency=invoice.currency,
        due_at=invoice.due_at,
        tenant_id=invoice.tenant_id,
    )
    await announce(session, event, entities.invoice(invoice.id), entities.invoices_of(invoice.user_id))
    return invoice


async def _book(session: AsyncSession, invoice: InvoiceRow, amount: int, tax: int, *, actor: str) -> int:
    """What is earned by usage, in the ledger: as much as possible from the wallet, the rest to be received.

    Returns what was taken from the wallet; what usage was corrected to less goes back to it, and is negative.
    """
    if not amount and not tax:
        return 0
    if amount <= 0:
        return await _post(session, invoice, amount, tax, amount, actor=actor)
    try:
        return await _post(session, invoice, amount, tax, amount, actor=actor)
    except InsufficientFunds as short:
        there = max(0, min(amount, int(short.members.get("available", 0))))
        return await _post(session, invoice, amount, tax, there, actor=actor)


async def _post(
    session: AsyncSession, invoice: InvoiceRow, amount: int, tax: int, from_wallet: int, *, actor: str
) -> int:
    tenant_id, user_id, currency = invoice.tenant_id, invoice.user_id, invoice.currency
    owed = transfers.receivable(tenant_id, user_id, currency)
    postings = [
        Posting(transfers.of_tenant(tenant_id, "revenue", currency), amount - tax),
        Posting(transfers.of_tenant(tenant_id, "tax", currency), tax),
    ]
    if from_wallet:
        postings.append(Posting(transfers.wallet(tenant_id, user_id, currency), -from_wallet))
    if amount != from_wallet:
        postings.append(Posting(owed, from_wallet - amount))
    await transfers.transfer(
        session,
        key=f"invoice:{invoice.id}",
        kind="invoice",
        postings=postings,
        reason="Usage",
        reference=entities.invoice(invoice.id),
        actor=actor,
        at=invoice.issued_at,
    )
    return from_wallet


def seller_of(terms: InvoiceTerms) -> dict[str, str | None]:
    return {"name": terms.seller, "tax_number": terms.seller_tax_number, "country": terms.seller_country}


def _columns(line: Line) -> dict[str, object]:
    return msgspec.structs.asdict(line)

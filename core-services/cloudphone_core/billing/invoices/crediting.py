"""Credit notes: what an invoice charged and should not have, with numbers of their own.

Usage is credited by hand: what is still due becomes less, and what was paid goes back to the wallet. An order is not
credited but refunded, to where it was paid from; the note for that follows by itself and moves no money.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.invoice import CreditLine, CreditNoteCreate
from cloudphone_shared.errors import Conflict, FieldError, Invalid, StateConflict
from cloudphone_shared.ids import uuid7

from ..ledger import transfers
from ..ledger.transfers import Posting
from .bill_to import Customer
from .issuing import issued, numbered, write_lines
from .lines import GivenBack, Line, line_given_back
from .models import InvoiceLineRow, InvoiceRow
from .settling import SYSTEM, left_of, locked_for, move
from .taxes import tax_in


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Of a line, what no note has taken back: signed as the line is."""

    line: InvoiceLineRow
    amount: int
    tax: int


async def credit(
    session: AsyncSession, caller: Caller, invoice_id: UUID, wanted: CreditNoteCreate, at: datetime
) -> InvoiceRow:
    """The note. Raises NotFound, Invalid for a line that is not there or twice, Conflict for more than is left,
    StateConflict for a note, for an order's line and where nothing is left."""
    invoice = await locked_for(session, caller, invoice_id)
    if invoice.kind != "invoice":
        raise StateConflict("A credit note cannot be credited", current_state=invoice.state, allowed=[])
    left = await _left_of(session, invoice)
    lines = [_part(left, each) for each in _once(wanted.lines)] if wanted.lines else _rest(left)
    amount, tax = -sum(line.amount for line in lines), -sum(line.tax for line in lines)
    if amount <= 0:
        raise StateConflict(
            "Nothing is left of this invoice's usage; an order is refunded, not credited",
            current_state=invoice.state,
            allowed=[],
        )
    if amount > sum(each.amount for each in left.values()):
        raise Conflict("More than is left of the invoice's usage")
    note = await _note(session, invoice, lines, wanted.reason, actor=caller.id, at=at)
    returned = max(0, amount - left_of(invoice))
    await _give_back(session, note, amount, tax, returned)
    await issued(session, note)
    await move(session, invoice, paid=-returned, credited=amount)
    return note


async def credit_refund(
    session: AsyncSession, invoice: InvoiceRow, plan: InvoiceLineRow, refund: GivenBack, at: datetime
) -> InvoiceRow:
    """For a refund that went through after its order was invoiced. The invoice's row is held locked."""
    line = line_given_back(refund, plan.tax_percent, plan.device_id)
    note = await _note(session, invoice, [line], refund.reason, actor=SYSTEM, at=at)
    await issued(session, note)
    await move(session, invoice, paid=-refund.amount, credited=refund.amount)
    return note


async def _note(
    session: AsyncSession, invoice: InvoiceRow, lines: Sequence[Line], reason: str, *, actor: str, at: datetime
) -> InvoiceRow:
    note_id = uuid7()
    await write_lines(session, note_id, lines)
    note = await numbered(
        session,
        Customer(tenant_id=invoice.tenant_id, user_id=invoice.user_id),
        "credit-note",
        lines,
        id=note_id,
        currency=invoice.currency,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        issued_at=at,
        due_at=at,
        freeze_at=at,
        bill_to=invoice.bill_to,
        seller=invoice.seller,
        corrects=invoice.id,
        reason=reason,
        actor=actor,
    )
    note.paid = note.total
    return note


async def _give_back(session: AsyncSession, note: InvoiceRow, amount: int, tax: int, returned: int) -> None:
    tenant_id, user_id, currency = note.tenant_id, note.user_id, note.currency
    to = [
        Posting(transfers.wallet(tenant_id, user_id, currency), returned),
        Posting(transfers.receivable(tenant_id, user_id, currency), amount - returned),
    ]
    await transfers.transfer(
        session,
        key=f"credit-note:{note.id}",
        kind="credit-note",
        postings=[
            *(posting for posting in to if posting.amount),
            Posting(transfers.of_tenant(tenant_id, "revenue", currency), tax - amount),
            Posting(transfers.of_tenant(tenant_id, "tax", currency), -tax),
        ],
        reason=note.reason or "Credit note",
        reference=entities.invoice(note.id),
        actor=note.actor,
        at=note.issued_at,
    )


async def _left_of(session: AsyncSession, invoice: InvoiceRow) -> Mapping[int, Left]:
    """By number: the lines of usage and what is left of each."""
    of_invoice = InvoiceLineRow.invoice_id == invoice.id, InvoiceLineRow.order_id.is_(None)
    lines = (await session.scalars(select(InvoiceLineRow).where(*of_invoice).order_by(InvoiceLineRow.number))).all()
    taken = await session.execute(
        select(InvoiceLineRow.corrects_line, func.sum(InvoiceLineRow.amount), func.sum(InvoiceLineRow.tax))
        .join(InvoiceRow, InvoiceRow.id == InvoiceLineRow.invoice_id)
        .where(InvoiceRow.corrects == invoice.id, InvoiceLineRow.corrects_line.is_not(None))
        .group_by(InvoiceLineRow.corrects_line)
    )
    back = {number: (int(amount), int(tax)) for number, amount, tax in taken}
    return {
        line.number: Left(
            line=line,
            amount=line.amount + back.get(line.number, (0, 0))[0],
            tax=line.tax + back.get(line.number, (0, 0))[1],
        )
        for line in lines
    }


def _once(wanted: Sequence[CreditLine]) -> Sequence[CreditLine]:
    if len({each.number for each in wanted}) != len(wanted):
        errors = [FieldError(field="lines", message="names a line twice")]
        raise Invalid("Each line can be named once", errors=errors)
    return wanted


def _rest(left: Mapping[int, Left]) -> list[Line]:
    return [_line(each, each.amount, each.tax) for each in left.values() if each.amount or each.tax]


def _part(left: Mapping[int, Left], wanted: CreditLine) -> Line:
    each = left.get(wanted.number)
    if each is None:
        raise Invalid(
            f"Line {wanted.number} is no line of usage: an order is refunded, not credited",
            errors=[FieldError(field="lines", message=f"{wanted.number} is no line of usage")],
        )
    if wanted.amount > each.amount:
        raise Conflict(f"More than is left of line {wanted.number}", number=wanted.number, left=max(0, each.amount))
    # What takes back the rest of a line takes back the rest of its tax, so that nothing stays of either.
    whole = wanted.amount == each.amount
    tax = each.tax if whole else min(each.tax, tax_in(wanted.amount, each.line.tax_percent))
    return _line(each, wanted.amount, tax)


def _line(each: Left, amount: int, tax: int) -> Line:
    line = each.line
    return Line(
        kind="credit",
        description=line.description,
        amount=-amount,
        tax_percent=line.tax_percent,
        tax=-tax,
        device_id=line.device_id,
        rule_id=line.rule_id,
        corrects_line=line.number,
    )

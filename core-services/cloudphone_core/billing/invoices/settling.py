"""What becomes of an invoice once it is issued: paid from the wallet, overdue, frozen for, credited.

Each function works in the caller's transaction, on an invoice whose row it holds locked. What is due stands on the
customer's `receivable` in the ledger.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.invoice import InvoiceState
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import InsufficientFunds, NotFound, StateConflict
from cloudphone_shared.events.billing import InvoiceStateChanged

from .. import arrears
from ..ledger import transfers
from ..ledger.transfers import Posting
from .models import InvoiceRow

SYSTEM = "billing"


def left_of(invoice: InvoiceRow) -> int:
    """What is due, in minor units; as the session has it, written or not."""
    return invoice.total - invoice.paid - invoice.credited


def state_of(invoice: InvoiceRow) -> InvoiceState:
    if left_of(invoice):
        return "overdue" if invoice.state == "overdue" else "open"
    return "credited" if invoice.total > 0 and invoice.credited == invoice.total else "paid"


async def locked(session: AsyncSession, invoice_id: UUID) -> InvoiceRow | None:
    return await session.get(InvoiceRow, invoice_id, with_for_update=True, populate_existing=True)


async def locked_for(session: AsyncSession, caller: Caller, invoice_id: UUID) -> InvoiceRow:
    """Raises NotFound for one outside the caller's data scope."""
    invoice = await locked(session, invoice_id)
    if invoice is None or not caller.sees(invoice.tenant_id, invoice.user_id):
        raise NotFound(entities=await versions_of(session, entities.invoice(invoice_id)))
    return invoice


async def pay(session: AsyncSession, caller: Caller, invoice_id: UUID, at: datetime) -> dict[str, int]:
    """All that is due, from the customer's wallet. Raises InsufficientFunds, StateConflict where nothing is due."""
    invoice = await locked_for(session, caller, invoice_id)
    if not left_of(invoice):
        raise StateConflict("Nothing is due on this invoice", current_state=invoice.state, allowed=[])
    return await _settle(session, invoice, left_of(invoice), actor=caller.id, at=at)


async def settle(session: AsyncSession, invoice: InvoiceRow, at: datetime) -> int:
    """As much of what is due as the wallet has; how much that was."""
    due = left_of(invoice)
    if not due:
        return 0
    try:
        await _settle(session, invoice, due, actor=SYSTEM, at=at)
    except InsufficientFunds as short:
        due = max(0, min(due, int(short.members.get("available", 0))))
        if due:
            await _settle(session, invoice, due, actor=SYSTEM, at=at)
    return due


async def _settle(
    session: AsyncSession, invoice: InvoiceRow, amount: int, *, actor: str, at: datetime
) -> dict[str, int]:
    payment = invoice.payments + 1
    tenant_id, user_id, currency = invoice.tenant_id, invoice.user_id, invoice.currency
    await transfers.transfer(
        session,
        key=f"settlement:{invoice.id}:{payment}",
        kind="settlement",
        postings=[
            Posting(transfers.wallet(tenant_id, user_id, currency), -amount),
            Posting(transfers.receivable(tenant_id, user_id, currency), amount),
        ],
        reason=f"Invoice {invoice.number}",
        reference=entities.invoice(invoice.id),
        actor=actor,
        at=at,
    )
    invoice.payments = payment
    return await move(session, invoice, paid=amount)


async def move(session: AsyncSession, invoice: InvoiceRow, *, paid: int = 0, credited: int = 0) -> dict[str, int]:
    """Books what was paid or credited, tells it, and ends the arrears that the invoice alone was the reason of."""
    before = invoice.state
    invoice.paid += paid
    invoice.credited += credited
    invoice.state = state_of(invoice)
    changed = await tell(session, invoice, before)
    if invoice.frozen_at is not None and not left_of(invoice) and not await _freezes_elsewhere(session, invoice):
        changed |= await arrears.end_for_invoices(session, invoice.user_id)
    return changed


async def become_overdue(session: AsyncSession, invoice: InvoiceRow) -> None:
    """The warning before devices are frozen."""
    before, invoice.state = invoice.state, "overdue"
    await tell(session, invoice, before)


async def freeze_for(session: AsyncSession, invoice: InvoiceRow, at: datetime) -> None:
    invoice.frozen_at = at
    reason = f"Invoice {invoice.number} is unpaid since {invoice.due_at:%Y-%m-%d}"
    await arrears.begin_for_invoice(session, invoice.tenant_id, invoice.user_id, reason, at)


async def tell(session: AsyncSession, invoice: InvoiceRow, before: InvoiceState) -> dict[str, int]:
    event = InvoiceStateChanged(
        invoice_id=invoice.id,
        number=invoice.number,
        user_id=invoice.user_id,
        old_state=before,
        new_state=invoice.state,
        due=left_of(invoice),
        tenant_id=invoice.tenant_id,
    )
    return await announce(session, event, entities.invoice(invoice.id), entities.invoices_of(invoice.user_id))


async def _freezes_elsewhere(session: AsyncSession, invoice: InvoiceRow) -> bool:
    others = exists().where(
        InvoiceRow.user_id == invoice.user_id,
        InvoiceRow.id != invoice.id,
        InvoiceRow.frozen_at.is_not(None),
        InvoiceRow.state == "overdue",
    )
    return bool(await session.scalar(select(others)))

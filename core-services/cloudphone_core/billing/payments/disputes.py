"""Charges that customers contest at their bank: the money is away while it is decided, and for good once it is lost."""

from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.payment import DisputeState
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.events.billing import DisputeChanged
from cloudphone_shared.ids import uuid7

from ..ledger import transfers
from ..ledger.transfers import Posting
from .found import alarm
from .models import DisputeRow, PaymentRow
from .provider import FoundDispute, Refused, Told
from .service import Payments
from .steps import Announcing, locked
from .wallet import of_tenant


async def hear(payments: Payments, told: Told) -> tuple[Literal["applied", "ignored", "refused"], str | None]:
    """By what the provider says of it now. Raises NoAnswer, Unavailable."""
    try:
        found = await payments.cards.provider.dispute(str(told.subject.get("id")))
    except Refused as refusal:
        return "refused", f"the provider knows no such dispute: {refusal.code}"
    return await settle(payments, found)


async def settle(
    payments: Payments, found: FoundDispute
) -> tuple[Literal["applied", "ignored", "refused"], str | None]:
    if found.state is None:
        return "ignored", "an enquiry, which moves no money"
    async with payments.database.writing() as session:
        of_reference = select(PaymentRow.id).where(PaymentRow.provider_reference == found.payment_reference)
        payment_id = await session.scalar(of_reference)
        if payment_id is None:
            return "ignored", "no payment of ours"
        payment = await locked(session, payment_id)
        if payment.state != "success" or found.currency != payment.currency or found.amount > payment.captured:
            detail = f"{found.amount} {found.currency} of {payment.captured} {payment.currency}, {payment.state}"
            alarm("dispute-mismatch", payment_id=str(payment.id), detail=detail)
            return "refused", detail
        await _step(session, payments, payment, found)
    return "applied", None


async def _step(session: AsyncSession, payments: Payments, payment: PaymentRow, found: FoundDispute) -> None:
    """From where it stands to what the provider says, through `open`; nothing for a repetition."""
    by_reference = select(DisputeRow).where(DisputeRow.provider_reference == found.reference)
    dispute = await session.scalar(by_reference.with_for_update())
    if dispute is None:
        dispute = DisputeRow(
            id=uuid7(), payment_id=payment.id, tenant_id=payment.tenant_id, user_id=payment.user_id,
            amount=found.amount, currency=found.currency, state="open", reason=found.reason,
            provider_reference=found.reference, opened_at=found.opened_at,
        )  # fmt: skip
        session.add(dispute)
        await session.flush()
        alarm("dispute", payment_id=str(payment.id), amount=dispute.amount, currency=dispute.currency)
        await _enter(session, payments, payment, dispute, "open")
    if found.state in ("won", "lost") and dispute.state == "open":
        dispute.state, dispute.closed_at = found.state, payments.now()
        await _enter(session, payments, payment, dispute, found.state)


async def _enter(
    session: AsyncSession, payments: Payments, payment: PaymentRow, dispute: DisputeRow, state: DisputeState
) -> None:
    """Opened, the money leaves for `losses`; won, it comes back; lost, it stays there."""
    moved: Announcing = []
    if state != "lost":
        amount = dispute.amount if state == "open" else -dispute.amount
        postings = [Posting(of_tenant(payment, "losses"), -amount), Posting(of_tenant(payment, "clearing"), amount)]
        await transfers.transfer(
            session, key=f"dispute:{dispute.id}:{state}", kind="chargeback", postings=postings,
            reason=f"Dispute {state}: {dispute.reason}", reference=f"payment:{payment.id}", actor="card provider",
            at=payments.now(), announcing=moved,
        )  # fmt: skip
    told = DisputeChanged(
        dispute_id=dispute.id, payment_id=payment.id, user_id=payment.user_id, amount=dispute.amount,
        currency=dispute.currency, state=state, tenant_id=payment.tenant_id,
    )  # fmt: skip
    shown = [entities.payment(payment.id), entities.payments_of(payment.user_id)]
    await announce_all(session, [*moved, Announcement(event=told, entities=shown)])

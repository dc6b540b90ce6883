"""The wallet's side: money moves in the ledger, in the same transaction as the payment's own step."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.ledger import TransferKind
from cloudphone_shared.errors import StateConflict

from ..ledger import transfers
from ..ledger.transfers import Account, Posting
from .models import PaymentRow
from .steps import Held, captured, failed, locked, note, standing


async def hold_in(session: AsyncSession, payment_id: UUID, at: datetime, *, expires_at: datetime | None = None) -> Held:
    """Sets the money aside; again it changes nothing. Voided at `expires_at` if it was not captured by then.

    Raises InsufficientFunds, with which the caller's transaction is to be given up.
    """
    payment = await locked(session, payment_id)
    if payment.state != "pending" or payment.given_up_at is not None:
        return standing(payment)
    if payment.amount:
        await transfers.hold(
            session, key=key_of(payment), kind="purchase", postings=_purchase(payment), reason="Purchase of a plan",
            reference=f"order:{payment.order_id}", actor=str(payment.user_id), at=at, expires_at=None,
        )  # fmt: skip
    payment.held = True
    payment.expires_at = payment.next_look_at = expires_at
    await note(session, payment, "processing", "held", at)
    return standing(payment)


async def capture_in(session: AsyncSession, payment_id: UUID, at: datetime) -> Held:
    """Takes what is held; again it changes nothing. One that was voided meanwhile answers so."""
    payment = await locked(session, payment_id)
    if payment.state == "processing":
        if payment.amount:
            await transfers.post(session, key_of(payment), tenant_id=payment.tenant_id, at=at)
        await captured(session, payment, "captured", at)
    elif payment.state == "pending":
        raise StateConflict("Nothing is held that could be captured", current_state="pending", allowed=["processing"])
    return standing(payment)


async def void_in(session: AsyncSession, payment_id: UUID, at: datetime, *, reason: str = "voided") -> Held:
    """Gives back what is held, or ends what was never held; again it changes nothing. Raises StateConflict once the
    money was captured: it can be refunded."""
    payment = await locked(session, payment_id)
    return await void_locked(session, payment, at, reason=reason)


async def void_locked(session: AsyncSession, payment: PaymentRow, at: datetime, *, reason: str) -> Held:
    if payment.state == "success":
        raise StateConflict("The payment was captured", current_state="success", allowed=["refund"])
    if payment.state != "failed":
        if payment.held and payment.amount:
            await transfers.void(session, key_of(payment), tenant_id=payment.tenant_id, reason=reason, at=at)
        payment.given_up_at = at
        await failed(session, payment, reason, at)
    return standing(payment)


async def pay_in(
    session: AsyncSession, payment_id: UUID, at: datetime, *, key: str, kind: TransferKind, reason: str, actor: str
) -> None:
    """Takes the money at once, as for a renewal. Raises InsufficientFunds, StateConflict for a payment begun before."""
    payment = await locked(session, payment_id)
    if payment.state != "pending":
        raise StateConflict("The payment was begun", current_state=payment.state, allowed=["pending"])
    if payment.amount:
        await transfers.transfer(
            session, key=key, kind=kind, postings=_purchase(payment), reason=reason,
            reference=f"order:{payment.order_id}", actor=actor, at=at,
        )  # fmt: skip
    await captured(session, payment, "captured", at)


def key_of(payment: PaymentRow) -> str:
    """The ledger's key of what the payment moves."""
    return f"order:{payment.order_id}" if payment.purpose == "order" else f"payment:{payment.id}"


def _purchase(payment: PaymentRow) -> list[Posting]:
    purse = transfers.wallet(payment.tenant_id, payment.user_id, payment.currency)
    return [Posting(purse, -payment.amount), *earnings(payment, payment.amount, payment.tax)]


def earnings(payment: PaymentRow, amount: int, tax: int) -> list[Posting]:
    """`amount` as revenue and tax; negative figures take it back."""
    parts = [
        Posting(of_tenant(payment, "revenue"), amount - tax),
        Posting(of_tenant(payment, "tax"), tax),
    ]
    return [part for part in parts if part.amount]


def of_tenant(payment: PaymentRow, kind: str) -> Account:
    return transfers.of_tenant(payment.tenant_id, kind, payment.currency)  # pyright: ignore[reportArgumentType]

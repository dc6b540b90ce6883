"""The wallet's side: money moves in the ledger, in the same transaction as the payment's own step.

`announcing` as in `steps`; a card payment that comes to nothing but zero goes this way too.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.ledger import AccountKind, TransferKind
from cloudphone_shared.errors import StateConflict

from ..ledger import transfers
from ..ledger.transfers import Account, Posting
from .models import PaymentRow
from .steps import Announcing, Held, captured, failed, locked, note, standing


async def hold_in(
    session: AsyncSession,
    payment_id: UUID,
    at: datetime,
    *,
    expires_at: datetime | None = None,
    announcing: Announcing | None = None,
) -> Held:
    """Sets the money aside; again it changes nothing. Voided at `expires_at` if it was not captured by then.

    Raises InsufficientFunds; the transaction can go on, and the payment is as it was.
    """
    payment = await locked(session, payment_id)
    if payment.state != "pending" or payment.given_up_at is not None:
        return standing(payment)
    moved: Announcing = []
    if payment.amount:
        await transfers.hold(
            session, key=key_of(payment), kind="purchase", postings=_purchase(payment), reason="Purchase of a plan",
            reference=f"order:{payment.order_id}", actor=str(payment.user_id), at=at, expires_at=None,
            announcing=moved,
        )  # fmt: skip
    payment.held = True
    payment.expires_at = payment.next_look_at = expires_at
    await note(session, payment, "processing", "held", at, announcing, moved=moved)
    return standing(payment)


async def capture_in(
    session: AsyncSession, payment_id: UUID, at: datetime, *, announcing: Announcing | None = None
) -> Held:
    """Takes what is held; again it changes nothing. One that was voided meanwhile answers so."""
    payment = await locked(session, payment_id)
    if payment.state == "processing":
        moved: Announcing = []
        if payment.amount:
            await transfers.post(session, key_of(payment), tenant_id=payment.tenant_id, at=at, announcing=moved)
        await captured(session, payment, "captured", at, announcing, moved=moved)
    elif payment.state == "pending":
        raise StateConflict("Nothing is held that could be captured", current_state="pending", allowed=["processing"])
    return standing(payment)


async def void_in(
    session: AsyncSession,
    payment_id: UUID,
    at: datetime,
    *,
    reason: str = "voided",
    announcing: Announcing | None = None,
) -> Held:
    """Gives back what is held, or ends what was never held; again it changes nothing. Raises StateConflict once the
    money was captured: it can be refunded."""
    payment = await locked(session, payment_id)
    not_captured(payment)
    if payment.state != "failed":
        moved: Announcing = []
        if payment.held and payment.amount:
            await transfers.void(
                session, key_of(payment), tenant_id=payment.tenant_id, reason=reason, at=at, announcing=moved
            )
        payment.given_up_at = at
        await failed(session, payment, reason, at, announcing, moved=moved)
    return standing(payment)


async def expire_in(session: AsyncSession, payment_id: UUID, at: datetime) -> Held:
    """Gives back what was held for too long."""
    payment = await locked(session, payment_id)
    payment.next_look_at = payment.expires_at
    if payment.held and payment.expires_at is not None and payment.expires_at <= at:
        return await void_in(session, payment_id, at, reason="expired")
    return standing(payment)


async def pay_in(
    session: AsyncSession,
    payment_id: UUID,
    at: datetime,
    *,
    key: str,
    kind: TransferKind,
    reason: str,
    actor: str,
    announcing: Announcing | None = None,
) -> None:
    """Takes the money at once, as for a renewal. Raises InsufficientFunds, StateConflict for a payment begun before."""
    payment = await locked(session, payment_id)
    if payment.state != "pending":
        raise StateConflict("The payment was begun", current_state=payment.state, allowed=["pending"])
    moved: Announcing = []
    if payment.amount:
        await transfers.transfer(
            session, key=key, kind=kind, postings=_purchase(payment), reason=reason,
            reference=f"order:{payment.order_id}", actor=actor, at=at, announcing=moved,
        )  # fmt: skip
    await captured(session, payment, "captured", at, announcing, moved=moved)


def not_captured(payment: PaymentRow) -> None:
    if payment.state == "success":
        raise StateConflict("The payment was captured", current_state="success", allowed=["refund"])


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


def of_tenant(payment: PaymentRow, kind: AccountKind) -> Account:
    return transfers.of_tenant(payment.tenant_id, kind, payment.currency)

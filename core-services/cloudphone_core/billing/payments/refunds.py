"""Money given back. All of a payment's refunds together never take more than was captured: they are counted under its
row's lock, and the database refuses the rest."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.errors import Conflict, StateConflict
from cloudphone_shared.ids import uuid7

from ..ledger import transfers
from ..ledger.transfers import Posting
from .models import PaymentRow, RefundRow
from .steps import Announcing, locked, refund_step
from .wallet import earnings, of_tenant


async def request_refund(
    session: AsyncSession, payment: PaymentRow, amount: int, reason: str, actor: str, at: datetime
) -> RefundRow:
    """Back to where it was paid from. To a wallet it is done at once; to a card it is asked for after the commit, by
    `Payments.refund` or the next round.

    Raises StateConflict for a payment that took nothing, Conflict for more than is left of it, InsufficientFunds for a
    recharge that was spent.
    """
    payment = await locked(session, payment.id)
    if payment.state != "success":
        raise StateConflict(
            f"A payment that is {payment.state} has nothing to give back", current_state=payment.state, allowed=[]
        )
    left = payment.captured - payment.refunding - payment.refunded
    if not 0 < amount <= left:
        raise Conflict("More than is left of the payment", refundable=left, currency=payment.currency)
    refund = RefundRow(
        id=uuid7(), payment_id=payment.id, tenant_id=payment.tenant_id, user_id=payment.user_id,
        order_id=payment.order_id, amount=amount, tax=await _tax_of(session, payment, amount),
        currency=payment.currency, state="pending", reason=reason, requested_by=actor, attempt=0, looks=0,
        created_at=at, updated_at=at,
    )  # fmt: skip
    session.add(refund)
    payment.refunding += amount
    await session.flush()
    if payment.method == "wallet":
        await refunded(session, payment, refund, at)
        return refund
    if payment.purpose == "recharge":
        await _set_aside(session, payment, refund, at)
    refund.next_look_at = at
    await refund_step(session, payment, refund, "pending", at)
    return refund


async def refunded(session: AsyncSession, payment: PaymentRow, refund: RefundRow, at: datetime) -> None:
    """The customer has the money. Under the payment's lock."""
    moved: Announcing = []
    if payment.purpose == "recharge":
        await transfers.post(session, _key(refund), tenant_id=payment.tenant_id, at=at, announcing=moved)
    else:
        await transfers.transfer(
            session, key=_key(refund), kind="refund", postings=_back(payment, refund), reason=refund.reason,
            reference=f"order:{payment.order_id}", actor=refund.requested_by, at=at, announcing=moved,
        )  # fmt: skip
    payment.refunding -= refund.amount
    payment.refunded += refund.amount
    refund.next_look_at = refund.asked_at = refund.failure = None
    await refund_step(session, payment, refund, "success", at, moved=moved)


async def refund_failed(
    session: AsyncSession, payment: PaymentRow, refund: RefundRow, failure: str, at: datetime
) -> None:
    """The provider will not do it; the amount may be asked for again. Under the payment's lock."""
    moved: Announcing = []
    if payment.purpose == "recharge":
        await transfers.void(
            session, _key(refund), tenant_id=payment.tenant_id, reason=failure, at=at, announcing=moved
        )
    payment.refunding -= refund.amount
    refund.next_look_at = refund.asked_at = None
    refund.failure = failure
    await refund_step(session, payment, refund, "failed", at, moved=moved)


async def _set_aside(session: AsyncSession, payment: PaymentRow, refund: RefundRow, at: datetime) -> None:
    """What goes back to the card must still be in the wallet, and cannot be spent meanwhile."""
    purse = transfers.wallet(payment.tenant_id, payment.user_id, payment.currency)
    await transfers.hold(
        session, key=_key(refund), kind="refund",
        postings=[Posting(purse, -refund.amount), Posting(of_tenant(payment, "clearing"), refund.amount)],
        reason=refund.reason, reference=f"payment:{payment.id}", actor=refund.requested_by, at=at, expires_at=None,
    )  # fmt: skip


async def _tax_of(session: AsyncSession, payment: PaymentRow, amount: int) -> int:
    """The refund's share of the tax, half-even, so that all refunds together give back all of it and no more."""
    live = select(func.coalesce(func.sum(RefundRow.tax), 0)).where(
        RefundRow.payment_id == payment.id, RefundRow.state != "failed"
    )
    before = int(await session.scalar(live) or 0)
    upto = payment.refunding + payment.refunded + amount
    share = Decimal(payment.tax) * upto / payment.captured
    return min(amount, max(0, int(share.quantize(Decimal(1), ROUND_HALF_EVEN)) - before))


def _back(payment: PaymentRow, refund: RefundRow) -> list[Posting]:
    wallet = transfers.wallet(payment.tenant_id, payment.user_id, payment.currency)
    to = wallet if payment.method == "wallet" else of_tenant(payment, "clearing")
    return [Posting(to, refund.amount), *earnings(payment, tax=-refund.tax, amount=-refund.amount)]


def _key(refund: RefundRow) -> str:
    return f"refund:{refund.id}"

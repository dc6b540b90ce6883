"""What a provider says of a payment, applied to its row: by what is so now, never by what was heard first.

Saying the same again changes nothing, and what was found earlier than what stands takes nothing back. Whoever
contradicts our own row moves nothing.
"""

from datetime import datetime, timedelta

import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from ..ledger import transfers
from ..ledger.transfers import Posting
from .models import PaymentRow
from .provider import Found
from .refunds import request_refund
from .steps import Announcing, answered, captured, failed, note
from .wallet import earnings, key_of, of_tenant

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ALARMS = Counter("cloudphone_payment_alarms_total", "What a provider said that contradicts our books", ["kind"])


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """`certain`: after so long a request that left no trace at the provider never will. `again`: between two looks at
    what is open, doubling up to `seldom`. `checkout`: how long a customer has to pay; `hold`: how long money may be
    set aside."""

    certain: timedelta = timedelta(minutes=2)
    again: timedelta = timedelta(minutes=1)
    seldom: timedelta = timedelta(hours=1)
    checkout: timedelta = timedelta(minutes=30)
    hold: timedelta = timedelta(hours=24)


PATIENCE = Patience()


class Mismatch(Exception):
    """The provider speaks of another amount, currency, tenant or payment than our row."""


def alarm(kind: str, **facts: object) -> None:
    """For an operator: no money was moved."""
    ALARMS.labels(kind).inc()
    log.error("payment_alarm", kind=kind, **facts)


def check(payment: PaymentRow, found: Found) -> None:
    """Raises Mismatch."""
    same = {
        "payment": (str(payment.id), found.payment_id),
        "tenant": (str(payment.tenant_id), found.tenant_id),
        "amount": (payment.amount, found.amount),
        "currency": (payment.currency, found.currency),
        "reference": (payment.provider_reference or found.reference, found.reference or payment.provider_reference),
        "checkout": (payment.checkout_id or found.checkout_id, found.checkout_id or payment.checkout_id),
    }
    for what, (ours, theirs) in same.items():
        if ours != theirs:
            raise Mismatch(f"{what}: {ours} here, {theirs} there")


async def apply(session: AsyncSession, payment: PaymentRow, found: Found | None, at: datetime, wait: Patience) -> None:
    """`found` None: the provider never heard of the payment. Under the payment's lock. Raises Mismatch."""
    if found is None:
        await _unheard_of(session, payment, at, wait)
        return
    check(payment, found)
    payment.provider_reference = found.reference or payment.provider_reference
    payment.checkout_id = found.checkout_id or payment.checkout_id
    if found.state == "captured":
        await _captured(session, payment, found, at)
    elif payment.state == "success":
        # Found before it was captured; a capture is never taken back.
        return
    elif found.state == "ended":
        if payment.state != "failed":
            await failed(session, payment, _why(payment, found, at), at)
        payment.asked = payment.asked_at = payment.next_look_at = None
    elif found.state == "authorised":
        await _authorised(session, payment, at, wait)
    else:
        await _open(session, payment, found, at, wait)


def unwanted(payment: PaymentRow, at: datetime) -> bool:
    """Whether what is set aside, or could still be paid, is to be let go."""
    if payment.state == "success" or payment.asked == "capture":
        return False
    due = payment.expires_at is not None and payment.expires_at <= at
    return payment.state == "failed" or payment.given_up_at is not None or due


async def _captured(session: AsyncSession, payment: PaymentRow, found: Found, at: datetime) -> None:
    payment.booked_at = payment.booked_at or found.booked_at
    if payment.state == "success":
        return
    moved: Announcing = []
    recharge = payment.purpose == "recharge"
    purse = transfers.wallet(payment.tenant_id, payment.user_id, payment.currency)
    to = [Posting(purse, payment.amount)] if recharge else earnings(payment, payment.amount, payment.tax)
    await transfers.transfer(
        session, key=key_of(payment), kind="recharge" if recharge else "purchase",
        postings=[Posting(of_tenant(payment, "clearing"), -payment.amount), *to],
        reason="Recharge by card" if recharge else "Purchase of a plan by card",
        reference=f"payment:{payment.id}" if recharge else f"order:{payment.order_id}", actor=str(payment.user_id),
        at=at, announcing=moved,
    )  # fmt: skip
    await captured(session, payment, "captured", at, moved=moved)
    if not recharge and payment.given_up_at is not None:
        alarm("captured-after-it-was-given-up", payment_id=str(payment.id))
        await request_refund(session, payment, payment.amount, "its order was given up", "billing", at)


async def _authorised(session: AsyncSession, payment: PaymentRow, at: datetime, wait: Patience) -> None:
    undone = payment.asked in ("capture", "void")
    if undone and payment.asked_at and at - payment.asked_at < wait.certain:
        return
    answered(payment)
    if payment.state == "failed" or payment.given_up_at is not None:
        payment.next_look_at = at
        return
    if not payment.held or payment.state == "unknown":
        reason = "not captured after all" if undone else "authorised"
        payment.held = True
        payment.expires_at = at + wait.hold
        await note(session, payment, "processing", reason, at)
    payment.next_look_at = payment.expires_at


async def _open(session: AsyncSession, payment: PaymentRow, found: Found, at: datetime, wait: Patience) -> None:
    if payment.state == "failed" or payment.given_up_at is not None:
        payment.next_look_at = at
        return
    if payment.held:
        return
    first = payment.checkout_url != found.checkout_url
    answered(payment)
    payment.checkout_url = found.checkout_url
    closes = payment.expires_at or at + wait.checkout
    payment.expires_at, payment.next_look_at = closes, min(closes, at + wait.again)
    if payment.state != "pending" or first:
        await note(session, payment, "pending", "to be paid by the customer", at)
    if found.failure and found.failure != payment.failure:
        payment.failure = found.failure
        await note(session, payment, "pending", f"the card was declined: {found.failure}", at)


def _why(payment: PaymentRow, found: Found, at: datetime) -> str:
    if payment.given_up_at is not None:
        return "voided"
    due = payment.expires_at is not None and payment.expires_at <= at
    return found.failure or ("expired" if due else "cancelled")


async def _unheard_of(session: AsyncSession, payment: PaymentRow, at: datetime, wait: Patience) -> None:
    """A request that is still on its way might yet arrive."""
    if payment.state in ("success", "failed"):
        payment.next_look_at = None
        return
    if payment.asked_at is not None and at - payment.asked_at < wait.certain:
        return
    await failed(session, payment, "never reached the provider", at)

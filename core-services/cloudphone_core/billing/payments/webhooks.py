"""What the provider tells us. A webhook says that something changed, never what is so: that is asked.

So it does not matter in which order webhooks come, how often, or whether some are lost.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.errors import Invalid

from . import disputes
from .card_refunds import both
from .found import alarm
from .models import PaymentRow, RefundRow, WebhookDeliveryRow
from .provider import NAME, Forged, Told
from .service import Payments

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Outcome = Literal["applied", "repeated", "ignored", "refused"]

KEPT = {"applied": 100_000, "ignored": 10_000, "repeated": 10_000, "refused": 1_000}
"""So many deliveries of each outcome, the latest: whoever sends us rubbish does not fill our disk."""

PRUNED_EVERY = 100


async def hear(payments: Payments, payload: bytes, signature: str) -> Outcome:
    """Returns once what follows is committed. Raises Invalid for what the provider did not sign just now; Unavailable
    or NoAnswer when it cannot be asked, so that it tells us again."""
    try:
        told = payments.cards.provider.told(payload, signature)
    except Forged:
        log.warning("webhook_refused", bytes=len(payload))
        async with payments.database.writing() as session:
            await _record(session, None, "refused", "the signature is not right, or too old", payments.now())
        raise Invalid("The webhook is not signed by the provider, or was signed too long ago") from None
    async with payments.database.reading() as session:
        heard = await session.scalar(
            select(
                exists().where(
                    WebhookDeliveryRow.provider == NAME,
                    WebhookDeliveryRow.event_id == told.id,
                    WebhookDeliveryRow.outcome.in_(["applied", "ignored"]),
                )
            )
        )
    if heard:
        return await _settled(payments, told, "repeated", None)
    if told.type.startswith(("checkout.session.", "payment_intent.")):
        return await _about_payment(payments, told)
    if told.type.startswith(("refund.", "charge.refund.")):
        return await _about_refund(payments, told)
    if told.type.startswith("charge.dispute."):
        outcome, detail = await disputes.hear(payments, told)
        return await _settled(payments, told, outcome, detail)
    return await _settled(payments, told, "ignored", "of no concern")


async def _about_payment(payments: Payments, told: Told) -> Outcome:
    cards = payments.cards
    payment_id = _uuid(_memo(told).get("payment_id"))
    async with payments.database.reading() as session:
        payment = payment_id and await session.get(PaymentRow, payment_id)
    if payment is None:
        return await _settled(payments, told, "ignored", "no payment of ours")
    if contradiction := _contradiction(payment, told):
        return await _contradicted(payments, told, payment, contradiction)
    found = await cards.find(payment)
    theirs = found and (found.checkout_id if told.type.startswith("checkout.") else found.reference)
    if theirs and theirs != told.subject.get("id"):
        return await _contradicted(payments, told, payment, f"id: {theirs} there, {told.subject.get('id')} told")
    async with cards.settling(payment.id) as (session, payment):
        contradiction = await cards.apply(session, payment, found)
        outcome: Outcome = "refused" if contradiction else "applied"
        return await _record(session, told, outcome, contradiction, payments.now())


async def _about_refund(payments: Payments, told: Told) -> Outcome:
    refund_id = _uuid(_memo(told).get("refund_id"))
    async with payments.database.reading() as session:
        refund = refund_id and await session.get(RefundRow, refund_id)
        payment = refund and await session.get(PaymentRow, refund.payment_id)
    if refund is None or payment is None or payment.provider_reference is None:
        # Reconciliation compares the books, and will name it.
        return await _settled(payments, told, "ignored", "no refund of ours")
    found = await payments.cards.provider.find_refund(payment.provider_reference, refund.id)
    async with payments.database.writing() as session:
        payment, refund = await both(session, refund.id)
        contradiction = found and await payments.card_refunds.apply_in(session, payment, refund, found, payments.now())
        outcome: Outcome = "refused" if contradiction else "applied"
        return await _record(session, told, outcome, contradiction, payments.now())


def _contradiction(payment: PaymentRow, told: Told) -> str | None:
    """What the webhook itself says against our row."""
    session = told.type.startswith("checkout.")
    subject = told.subject
    same = {
        "tenant": (str(payment.tenant_id), _memo(told).get("tenant_id")),
        "amount": (payment.amount, subject.get("amount_total" if session else "amount")),
        "currency": (payment.currency, str(subject.get("currency")).upper()),
        "id": (
            (payment.checkout_id if session else payment.provider_reference) or subject.get("id"),
            subject.get("id"),
        ),
    }
    return next(
        (f"{what}: {ours} here, {theirs} there" for what, (ours, theirs) in same.items() if ours != theirs), None
    )


async def _contradicted(payments: Payments, told: Told, payment: PaymentRow, detail: str) -> Outcome:
    alarm("webhook-mismatch", payment_id=str(payment.id), event_id=told.id, detail=detail)
    return await _settled(payments, told, "refused", detail)


async def _settled(payments: Payments, told: Told, outcome: Outcome, detail: str | None) -> Outcome:
    async with payments.database.writing() as session:
        return await _record(session, told, outcome, detail, payments.now())


async def _record(
    session: AsyncSession, told: Told | None, outcome: Outcome, detail: str | None, at: datetime
) -> Outcome:
    """Heard by another process at the same time, it is `repeated`."""
    fields: dict[str, Any] = {"provider": NAME, "outcome": outcome, "detail": detail, "received_at": at}
    if told is not None:
        fields |= {"event_id": told.id[:200], "type": told.type[:200]}
    if outcome in ("applied", "ignored") and told is not None:
        kept = insert(WebhookDeliveryRow).values(**fields, body=told.body).on_conflict_do_nothing()
        number = await session.scalar(kept.returning(WebhookDeliveryRow.id))
        if number is not None:
            await _prune(session, number, outcome)
            return outcome
        outcome = fields["outcome"] = "repeated"
    number = await session.scalar(insert(WebhookDeliveryRow).values(**fields).returning(WebhookDeliveryRow.id))
    await _prune(session, number or 0, outcome)
    return outcome


async def _prune(session: AsyncSession, number: int, outcome: Outcome) -> None:
    if number % PRUNED_EVERY:
        return
    of_kind = WebhookDeliveryRow.outcome == outcome
    oldest = (
        select(WebhookDeliveryRow.id)
        .where(of_kind)
        .order_by(WebhookDeliveryRow.id.desc())
        .offset(KEPT[outcome])
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(delete(WebhookDeliveryRow).where(of_kind, WebhookDeliveryRow.id <= oldest))


def _memo(told: Told) -> dict[str, Any]:
    memo = told.subject.get("metadata")
    return memo if isinstance(memo, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None

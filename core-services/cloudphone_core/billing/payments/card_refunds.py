"""Refunds to cards: asked for like payments, between two transactions, and found out when there was no answer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.payment import RefundState
from cloudphone_shared.database import Database
from cloudphone_shared.errors import NotFound, Unavailable

from .card import Cards
from .found import Patience, alarm
from .models import PaymentRow, RefundRow
from .provider import FoundRefund, NoAnswer, Refused
from .refunds import refund_failed, refunded
from .steps import locked, refund_step


class CardRefunds:
    def __init__(self, database: Database, cards: Cards, patience: Patience) -> None:
        self._database = database
        self._cards = cards
        self._patience = patience

    async def refund(self, refund_id: UUID, now: datetime) -> RefundState:
        """Asks for one that was not asked for yet; again it says how it stands."""
        async with self._database.writing() as session:
            payment, refund = await both(session, refund_id)
            if refund.state != "pending" or payment.provider_reference is None:
                return refund.state
            refund.asked_at, refund.next_look_at = now, now + self._patience.again
            await refund_step(session, payment, refund, "processing", now)
            reference, amount = payment.provider_reference, refund.amount
            key = f"refund:{refund.id}:{refund.attempt}"
        try:
            found = await self._cards.provider.refund(reference, refund_id, amount, key)
        except (Refused, NoAnswer, Unavailable) as error:
            return await self._not_done(refund_id, error, now)
        return await self.apply(refund_id, found, now)

    async def look(self, refund_id: UUID, now: datetime) -> RefundState:
        """Finds out what became of one that was asked for. Raises NoAnswer, Unavailable when the provider does not
        say."""
        async with self._database.reading() as session:
            refund = await session.get_one(RefundRow, refund_id)
            payment = await session.get_one(PaymentRow, refund.payment_id)
        if refund.state == "pending":
            return await self.refund(refund_id, now)
        if refund.state in ("success", "failed") or payment.provider_reference is None:
            return refund.state
        found = await self._cards.provider.find_refund(payment.provider_reference, refund_id)
        if found is not None:
            return await self.apply(refund_id, found, now)
        if refund.asked_at is not None and now - refund.asked_at < self._patience.certain:
            return refund.state
        async with self._database.writing() as session:
            payment, refund = await both(session, refund_id)
            if refund.state in ("processing", "unknown"):
                refund.asked_at, refund.next_look_at = None, now
                await refund_step(session, payment, refund, "pending", now)
            return refund.state

    async def apply(self, refund_id: UUID, found: FoundRefund, now: datetime) -> RefundState:
        async with self._database.writing() as session:
            payment, refund = await both(session, refund_id)
            await self.apply_in(session, payment, refund, found, now)
            return refund.state

    async def apply_in(
        self, session: AsyncSession, payment: PaymentRow, refund: RefundRow, found: FoundRefund, now: datetime
    ) -> str | None:
        """What contradicts our row, in which case nothing was moved."""
        ours = (str(refund.id), refund.amount, refund.currency, payment.provider_reference)
        theirs = (found.refund_id, found.amount, found.currency, found.payment_reference)
        if ours != theirs:
            alarm("refund-mismatch", refund_id=str(refund.id), ours=ours, theirs=theirs)
            refund.next_look_at = now + self._patience.seldom
            return f"{ours} here, {theirs} there"
        refund.provider_reference = found.reference
        refund.booked_at = refund.booked_at or found.booked_at
        if refund.state in ("success", "failed"):
            # A bank may turn a refund back days later; the money is with us again then, and somebody has to look.
            if refund.state == "success" and found.state == "failed":
                alarm("refund-came-back", refund_id=str(refund.id))
            return None
        if found.state == "success":
            await refunded(session, payment, refund, now)
        elif found.state == "failed":
            await refund_failed(session, payment, refund, found.failure or "failed", now)
        else:
            refund.next_look_at = now + self._patience.seldom
        return None

    async def _not_done(self, refund_id: UUID, error: Exception, now: datetime) -> RefundState:
        async with self._database.writing() as session:
            payment, refund = await both(session, refund_id)
            if refund.state != "processing":
                return refund.state
            refund.next_look_at = now + self._patience.again
            if isinstance(error, Refused):
                alarm("refund-refused", refund_id=str(refund_id), code=error.code)
                await refund_failed(session, payment, refund, error.code, now)
            else:
                # A request may be on its way as long as it had no answer: the same key keeps it from a second effect.
                refund.attempt += isinstance(error, Unavailable) or (isinstance(error, NoAnswer) and error.over)
                # Of one that was not carried out nothing is unknown: it is asked for again.
                await refund_step(
                    session, payment, refund, "unknown" if isinstance(error, NoAnswer) else "pending", now
                )
            return refund.state


async def both(session: AsyncSession, refund_id: UUID) -> tuple[PaymentRow, RefundRow]:
    """The payment's row first, as whoever requests a refund locks it. Raises NotFound."""
    payment_id = await session.scalar(select(RefundRow.payment_id).where(RefundRow.id == refund_id))
    if payment_id is None:
        raise NotFound("There is no such refund")
    payment = await locked(session, payment_id)
    refund = await session.get_one(RefundRow, refund_id, with_for_update=True, populate_existing=True)
    return payment, refund

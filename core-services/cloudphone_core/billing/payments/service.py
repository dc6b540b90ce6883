"""Payments by wallet and by card behind one port.

Rows change in short transactions of their own. A provider is only ever asked between two of them: the first says what
it is about to be asked, the second what it answered. Where there was no answer the payment is `unknown`, and only what
the provider says of it later settles it.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, InsufficientFunds, NotFound

from . import wallet
from .models import PaymentRow
from .steps import Announcing, Held, PaidOrder, by_provider, failed, locked, opened, standing

Settled = Callable[[AsyncSession, PaymentRow], Awaitable[None]]
"""Told of a payment whose outcome may have become known, in the transaction that looks, before its row is locked: so
whoever waits for it locks what is his first. Waking somebody for nothing is harmless."""


async def open_payment(
    session: AsyncSession,
    *,
    payment_id: UUID,
    order: PaidOrder,
    method: PaymentMethod,
    amount: int,
    currency: str,
    tax: int,
    at: datetime,
    announcing: Announcing | None = None,
) -> PaymentRow:
    """Pending: nothing is held yet."""
    return await opened(
        session, payment_id=payment_id, tenant_id=order.tenant_id, user_id=order.user_id, purpose="order",
        order_id=order.id, method=method, amount=amount, currency=currency, tax=tax, at=at, announcing=announcing,
    )  # fmt: skip


class Payments:
    """`on_settled` is called when a payment changed otherwise than by the caller's own request."""

    def __init__(self, database: Database, now: Callable[[], datetime], *, on_settled: Settled | None = None) -> None:
        self._database = database
        self._now = now
        self.on_settled = on_settled

    async def hold(self, payment_id: UUID, *, expires_at: datetime | None = None) -> Held:
        """Sets the money aside; again it says how it stands."""
        payment = await self._read(payment_id)
        if by_provider(payment):
            raise Conflict("Cards are not taken here")
        try:
            async with self._database.writing() as session:
                return await wallet.hold_in(session, payment_id, self._now(), expires_at=expires_at)
        except InsufficientFunds as refusal:
            return await self._refused(payment_id, refusal)

    async def capture(self, payment_id: UUID) -> Held:
        """Takes what is held; again it says how it stands. Raises StateConflict where nothing is held yet."""
        async with self._database.writing() as session:
            return await wallet.capture_in(session, payment_id, self._now())

    async def void(self, payment_id: UUID, *, reason: str = "voided") -> Held:
        """Gives back what is held; again it says how it stands. Raises StateConflict once it was captured."""
        async with self._database.writing() as session:
            return await wallet.void_in(session, payment_id, self._now(), reason=reason)

    async def _refused(self, payment_id: UUID, refusal: InsufficientFunds) -> Held:
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.state == "pending":
                await failed(session, payment, refusal.code, self._now())
            return Held(state="refused", failure=refusal.code, refusal=refusal)

    async def _read(self, payment_id: UUID) -> PaymentRow:
        async with self._database.reading() as session:
            payment = await session.get(PaymentRow, payment_id)
            if payment is None:
                raise NotFound("There is no such payment")
            return payment


__all__ = ["Held", "PaidOrder", "Payments", "Settled", "open_payment", "standing"]

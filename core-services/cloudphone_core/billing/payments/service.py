"""Payments by wallet and by card behind one port.

Rows change in short transactions of their own. A provider is only ever asked between two of them: the first says what
it is about to be asked, the second what it answered. Where there was no answer the payment is `unknown`, and only what
the provider says of it later settles it.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.payment import RefundState
from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, InsufficientFunds, NotFound
from cloudphone_shared.settings import Payments as PaymentSettings

from . import wallet
from .card import Cards, Settled
from .card_refunds import CardRefunds
from .found import PATIENCE, Patience
from .models import PaymentRow, RefundRow
from .provider import CardProvider
from .steps import Announcing, Held, PaidOrder, by_provider, failed, locked, opened

CARDS_NOT_TAKEN = "Cards are not taken here"


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


def open_provider(settings: PaymentSettings, *, seconds: float = 4.0) -> CardProvider | None:
    """None where no card provider is configured."""
    if not settings.card_api_key or not settings.card_webhook_secrets:
        return None
    return CardProvider(
        api_key=settings.card_api_key,
        api_url=settings.card_api_url,
        secrets=settings.card_webhook_secrets,
        return_url=settings.checkout_return_url,
        seconds=seconds,
    )


class Payments:
    """Without a `provider` no cards are taken."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        provider: CardProvider | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.database = database
        self.now = now
        self.patience = patience
        self._cards = Cards(database, provider, now, patience) if provider else None
        self._card_refunds = CardRefunds(database, self._cards, patience) if self._cards else None

    @property
    def cards(self) -> Cards:
        """Raises Conflict where none are taken."""
        if self._cards is None:
            raise Conflict(CARDS_NOT_TAKEN)
        return self._cards

    @property
    def card_refunds(self) -> CardRefunds:
        """Raises Conflict where no cards are taken."""
        if self._card_refunds is None:
            raise Conflict(CARDS_NOT_TAKEN)
        return self._card_refunds

    @property
    def takes_cards(self) -> bool:
        return self._cards is not None

    def on_settled(self, told: Settled) -> None:
        """Has `told` called whenever a card payment may have changed otherwise than by its caller's own request."""
        if self._cards is not None:
            self._cards.on_settled = told

    async def close(self) -> None:
        if self._cards is not None:
            await self._cards.provider.close()

    async def hold(self, payment_id: UUID, *, expires_at: datetime | None = None) -> Held:
        """Sets the money aside; again it says how it stands. Raises Unavailable when no provider could be asked."""
        if by_provider(await self._read(payment_id)):
            return await self.cards.hold(payment_id)
        try:
            async with self.database.writing() as session:
                return await wallet.hold_in(session, payment_id, self.now(), expires_at=expires_at)
        except InsufficientFunds as refusal:
            return await self._refused(payment_id, refusal)

    async def capture(self, payment_id: UUID) -> Held:
        """Takes what is held; again it says how it stands. Raises StateConflict where nothing is held yet, Unavailable
        when no provider could be asked."""
        if by_provider(await self._read(payment_id)):
            return await self.cards.capture(payment_id)
        async with self.database.writing() as session:
            return await wallet.capture_in(session, payment_id, self.now())

    async def void(self, payment_id: UUID, *, reason: str = "voided") -> Held:
        """Gives back what is held; again it says how it stands, `unknown` until it is certain. Raises StateConflict
        once it was captured."""
        if by_provider(await self._read(payment_id)):
            return await self.cards.void(payment_id, reason)
        async with self.database.writing() as session:
            return await wallet.void_in(session, payment_id, self.now(), reason=reason)

    async def look(self, payment_id: UUID) -> Held:
        """How it stands, by the provider's own word where there is one; what nobody wants any more is let go.

        Raises NoAnswer, Unavailable.
        """
        payment = await self._read(payment_id)
        if by_provider(payment):
            return await self.cards.look(payment_id)
        async with self.database.writing() as session:
            return await wallet.expire_in(session, payment_id, self.now())

    async def refund(self, refund_id: UUID) -> RefundState:
        """Asks for a refund that was requested; again it says how it stands."""
        async with self.database.reading() as session:
            refund = await session.get(RefundRow, refund_id)
        if refund is None:
            raise NotFound("There is no such refund")
        if refund.state in ("success", "failed"):
            return refund.state
        return await self.card_refunds.refund(refund_id, self.now())

    async def _refused(self, payment_id: UUID, refusal: InsufficientFunds) -> Held:
        async with self.database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.state == "pending":
                await failed(session, payment, refusal.code, self.now())
            return Held(state="refused", failure=refusal.code, refusal=refusal)

    async def _read(self, payment_id: UUID) -> PaymentRow:
        async with self.database.reading() as session:
            payment = await session.get(PaymentRow, payment_id)
            if payment is None:
                raise NotFound("There is no such payment")
            return payment


__all__ = ["Held", "PaidOrder", "Patience", "Payments", "Settled", "open_payment", "open_provider"]

"""The card's side: each request to the provider stands between two transactions.

The first commits what is about to be asked, the second what was answered. `asked` outlives a crash between them, and
an answer that never came; then only what the provider says of the payment settles it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database
from cloudphone_shared.errors import PaymentRefused, StateConflict, Unavailable

from .found import Mismatch, Patience, alarm, apply, unwanted
from .models import Asked, PaymentRow
from .provider import NAME, CardProvider, Checkout, Found, NoAnswer, Refused
from .steps import Held, answered, failed, locked, note, standing
from .wallet import not_captured

Settled = Callable[[AsyncSession, PaymentRow], Awaitable[None]]
"""Told of a payment whose outcome may have become known, in the transaction that looks, before its row is locked: so
whoever waits for it locks what is his first. Waking somebody for nothing is harmless."""

WORDING = {"order": "Cloudphone plan", "recharge": "Cloudphone wallet", "invoice": "Cloudphone invoice"}


class Cards:
    def __init__(
        self, database: Database, provider: CardProvider, now: Callable[[], datetime], patience: Patience
    ) -> None:
        self._database = database
        self.provider = provider
        self._now = now
        self._patience = patience
        self.on_settled: Settled | None = None

    @property
    def open_for(self) -> timedelta:
        """How long a customer has to pay."""
        return self._patience.checkout

    async def hold(self, payment_id: UUID) -> Held:
        """Opens the page where the customer pays. Raises Unavailable when nobody could be asked."""
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.state != "pending" or payment.asked or payment.checkout_id or payment.given_up_at:
                return standing(payment)
            payment.provider = NAME
            payment.expires_at = self._now() + self._patience.checkout
            self._about_to_ask(payment, "checkout")
            wanted = Checkout(
                payment_id=payment.id, tenant_id=payment.tenant_id, amount=payment.amount, currency=payment.currency,
                later=payment.purpose == "order", wording=WORDING[payment.purpose], open_for=self._patience.checkout,
            )  # fmt: skip
            key = _key(payment)
        try:
            found = await self.provider.open_checkout(wanted, key)
        except Refused as refusal:
            return await self._turned_down(payment_id, refusal)
        except (NoAnswer, Unavailable) as error:
            return await self._not_answered(payment_id, key, error)
        return await self._answer(payment_id, found)

    async def capture(self, payment_id: UUID) -> Held:
        """Takes what was authorised. Raises StateConflict where nothing is, Unavailable when nobody could be asked."""
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.state == "pending":
                raise StateConflict("Nothing is held that could be captured", current_state="pending", allowed=[])
            if not payment.held or payment.asked or payment.given_up_at or payment.provider_reference is None:
                return standing(payment)
            self._about_to_ask(payment, "capture")
            reference, key = payment.provider_reference, _key(payment)
        try:
            found = await self.provider.capture(reference, key)
        except Refused:
            return await self.look(payment_id)
        except (NoAnswer, Unavailable) as error:
            return await self._not_answered(payment_id, key, error)
        return await self._answer(payment_id, found)

    async def void(self, payment_id: UUID, reason: str) -> Held:
        """Lets go of it; one whose outcome is unknown is found out first. Raises StateConflict once captured."""
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            not_captured(payment)
            if payment.state == "failed":
                return standing(payment)
            payment.given_up_at = payment.given_up_at or self._now()
            payment.next_look_at = self._now()
            if payment.asked is None and payment.checkout_id is None:
                await failed(session, payment, reason, self._now())
                return standing(payment)
        try:
            return await self.look(payment_id)
        except (NoAnswer, Unavailable):
            return Held(state="unknown")

    async def look(self, payment_id: UUID) -> Held:
        """Finds out how it stands at the provider, and lets go of what nobody wants any more.

        Raises NoAnswer, Unavailable when the provider does not say.
        """
        async with self._database.reading() as session:
            payment = await session.get_one(PaymentRow, payment_id)
        found = await self.find(payment)
        async with self.settling(payment_id) as (session, payment):
            await self.apply(session, payment, found)
            letting_go = found is not None and found.state in ("open", "authorised") and unwanted(payment, self._now())
            if not letting_go:
                return standing(payment)
            self._about_to_ask(payment, "void")
            key = _key(payment)
        return await self._let_go(payment_id, found, key) if found else standing(payment)

    @asynccontextmanager
    async def settling(self, payment_id: UUID) -> AsyncGenerator[tuple[AsyncSession, PaymentRow]]:
        """The payment's row, locked after whoever waits for it."""
        async with self._database.writing() as session:
            if self.on_settled is not None:
                await self.on_settled(session, await session.get_one(PaymentRow, payment_id))
            yield session, await locked(session, payment_id)

    async def _let_go(self, payment_id: UUID, found: Found, key: str) -> Held:
        """An open page is closed, which ends its payment; what was authorised there is cancelled."""
        try:
            if found.state == "open" and found.checkout_id:
                await self.provider.close_checkout(found.checkout_id, key)
            elif found.reference:
                await self.provider.cancel(found.reference, key)
        except Refused:
            # Something else came first; what, is found out now.
            pass
        async with self._database.reading() as session:
            payment = await session.get_one(PaymentRow, payment_id)
        now_so = await self.find(payment)
        async with self.settling(payment_id) as (session, payment):
            await self.apply(session, payment, now_so)
            return standing(payment)

    async def find(self, payment: PaymentRow) -> Found | None:
        """What the provider knows of it. Raises NoAnswer, Unavailable."""
        if payment.asked is None and payment.checkout_id is None:
            return None
        since = payment.asked_at or payment.created_at
        try:
            return await self.provider.find(payment.id, checkout_id=payment.checkout_id, since=since)
        except Refused as refusal:
            alarm("unknown-to-the-provider", payment_id=str(payment.id), code=refusal.code)
            raise NoAnswer(refusal.code) from refusal

    async def _answer(self, payment_id: UUID, found: Found) -> Held:
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            await self.apply(session, payment, found)
            return standing(payment)

    async def apply(self, session: AsyncSession, payment: PaymentRow, found: Found | None) -> str | None:
        """What contradicted our row, in which case nothing was moved."""
        try:
            await apply(session, payment, found, self._now(), self._patience)
        except Mismatch as mismatch:
            alarm("mismatch", payment_id=str(payment.id), detail=str(mismatch))
            payment.next_look_at = self._now() + self._patience.seldom
            return str(mismatch)
        return None

    async def _turned_down(self, payment_id: UUID, refusal: Refused) -> Held:
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.state == "pending":
                await failed(session, payment, refusal.code, self._now())
        return Held(
            state="refused",
            failure=refusal.code,
            refusal=PaymentRefused(reason=refusal.code, paymentId=str(payment_id)),
        )

    async def _not_answered(self, payment_id: UUID, key: str, error: NoAnswer | Unavailable) -> Held:
        """After `Unavailable` it was not done, and can be asked again; after `NoAnswer` nobody knows."""
        async with self._database.writing() as session:
            payment = await locked(session, payment_id)
            if payment.asked is None or _key(payment) != key:
                return standing(payment)
            if isinstance(error, Unavailable):
                answered(payment)
                payment.next_look_at = payment.expires_at
            elif payment.state != "failed":
                payment.next_look_at = self._now() + self._patience.again
                await note(session, payment, "unknown", f"no answer: {error}", self._now())
        if isinstance(error, Unavailable):
            raise error
        return Held(state="unknown")

    def _about_to_ask(self, payment: PaymentRow, what: Asked) -> None:
        payment.asked, payment.asked_at = what, self._now()
        payment.attempt += 1
        payment.next_look_at = self._now() + self._patience.again


def _key(payment: PaymentRow) -> str:
    """Of one attempt: repeated it has no second effect; another attempt is made only once this one is known to have
    had none, because the provider repeats its first answer to a key, a failure too."""
    return f"{payment.asked}:{payment.id}:{payment.attempt}"

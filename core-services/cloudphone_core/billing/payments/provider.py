"""The card provider, asked through Stripe's own library.

Of every request it is said what is known when no good answer comes: `Unavailable` was not carried out, `Refused` was
understood and will not be done, and after `NoAnswer` nobody knows until the provider is asked what became of it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

import httpx
import msgspec
import stripe

from cloudphone_shared.contracts.payment import DisputeState
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.http.breaker import Breaker

T = TypeVar("T")

PaymentFound = Literal["open", "authorised", "captured", "ended"]
RefundFound = Literal["pending", "success", "failed"]
BookKind = Literal["capture", "refund", "dispute", "other"]

NAME = "stripe"
TOLERANCE_SECONDS = 300
"""How old a webhook may be: what was signed earlier is refused, however right its signature."""

SHORTEST_CHECKOUT = timedelta(minutes=31)
"""The provider keeps none open for less than half an hour; ours are closed by us."""

MOST_PAGES = 100
_verify: Callable[[bytes, str, str, int], bool] = cast(Any, stripe.WebhookSignature).verify_header
_INTENT = "latest_charge.balance_transaction"


class NoAnswer(Exception):
    """It may or may not have been done. `over`: an answer came, if not a good one, so nothing is still on its way."""

    over = False


class Broken(NoAnswer):
    over = True


class Refused(Exception):
    """Understood, and not done. `code` is the provider's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Forged(Exception):
    """Not signed by the provider with a secret of ours, or too long ago."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer is asked to pay. `later`: the money is only set aside, and captured by us."""

    payment_id: UUID
    tenant_id: UUID
    amount: int
    currency: str
    later: bool
    wording: str
    open_for: timedelta


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as the provider's books have it now. `reference` is theirs, `payment_id` and `tenant_id` what we gave
    them to remember; `booked_at`: when the capture was entered."""

    state: PaymentFound
    payment_id: str | None
    tenant_id: str | None
    amount: int | None
    currency: str | None
    reference: str | None = None
    checkout_id: str | None = None
    checkout_url: str | None = None
    failure: str | None = None
    booked_at: datetime | None = None


class FoundRefund(msgspec.Struct, frozen=True, kw_only=True):
    state: RefundFound
    reference: str
    refund_id: str | None
    payment_reference: str | None
    amount: int
    currency: str
    failure: str | None
    booked_at: datetime | None


class FoundDispute(msgspec.Struct, frozen=True, kw_only=True):
    """`state` None for a mere enquiry, which moves no money."""

    state: DisputeState | None
    reference: str
    payment_reference: str | None
    amount: int
    currency: str
    reason: str
    opened_at: datetime


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was signed. `subject` is what it is about, as it was when it was sent."""

    id: str
    type: str
    subject: dict[str, Any]
    body: dict[str, Any]


class BookLine(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the provider's books: money in (`capture`), out (`refund`), or taken and given by a dispute."""

    kind: BookKind
    reference: str
    """Of the payment intent, refund or dispute that it is about."""
    amount: int
    currency: str
    our_id: str | None
    at: datetime


class CardProvider:
    """`seconds` is the longest that one request may take. `secrets` sign webhooks: two while one replaces the other."""

    def __init__(
        self,
        *,
        api_key: str,
        api_url: str,
        secrets: Sequence[str],
        return_url: str,
        seconds: float = 4.0,
        breaker: Breaker | None = None,
    ) -> None:
        self._secrets = tuple(secrets)
        self._return_url = return_url
        self._seconds = seconds
        self._breaker = breaker or Breaker(slow=seconds)
        self._http = stripe.HTTPXClient(timeout=seconds)
        self._stripe = stripe.StripeClient(
            api_key, base_addresses={"api": api_url}, max_network_retries=0, http_client=self._http
        ).v1

    async def close(self) -> None:
        await self._http.close_async()

    async def open_checkout(self, wanted: Checkout, key: str) -> Found:
        """A page where the customer pays; the same `key` never opens two."""
        memo = {"payment_id": str(wanted.payment_id), "tenant_id": str(wanted.tenant_id)}
        price = {
            "currency": wanted.currency.lower(), "unit_amount": wanted.amount, "product_data": {"name": wanted.wording},
        }  # fmt: skip
        session = await self._ask(
            self._stripe.checkout.sessions.create_async,
            {
                "mode": "payment",
                "line_items": [{"quantity": 1, "price_data": price}],
                "client_reference_id": str(wanted.payment_id),
                "metadata": memo,
                "payment_intent_data": {"capture_method": "manual" if wanted.later else "automatic", "metadata": memo},
                "success_url": f"{self._return_url}?paymentId={wanted.payment_id}",
                "cancel_url": f"{self._return_url}?paymentId={wanted.payment_id}&cancelled=true",
                "expires_at": int(time.time() + max(wanted.open_for, SHORTEST_CHECKOUT).total_seconds()),
                "expand": [f"payment_intent.{_INTENT}"],
            },
            {"idempotency_key": key},
        )
        return _of_session(_read(session, _Session))

    async def find(self, payment_id: UUID, *, checkout_id: str | None, since: datetime) -> Found | None:
        """What became of a payment; None when the provider never heard of it. Without `checkout_id` it is looked for
        by our own id among all that was opened since an hour before `since`."""
        if checkout_id is not None:
            wanted = {"expand": [f"payment_intent.{_INTENT}"]}
            session = await self._ask(self._stripe.checkout.sessions.retrieve_async, checkout_id, wanted)
            return _of_session(_read(session, _Session))
        listed = {
            "created": {"gte": int((since - timedelta(hours=1)).timestamp())},
            "expand": [f"data.payment_intent.{_INTENT}"],
        }
        async for session in self._pages(self._stripe.checkout.sessions.list_async, listed, _Session):
            if session.client_reference_id == str(payment_id):
                return _of_session(session)
        return None

    async def capture(self, reference: str, key: str) -> Found:
        intent = await self._ask(
            self._stripe.payment_intents.capture_async, reference, {"expand": [_INTENT]}, {"idempotency_key": key}
        )
        return _of_intent(_read(intent, _Intent))

    async def close_checkout(self, checkout_id: str, key: str) -> None:
        """Nobody can pay there any more. Raises Refused when somebody did, or when it was closed before."""
        await self._ask(self._stripe.checkout.sessions.expire_async, checkout_id, {}, {"idempotency_key": key})

    async def cancel(self, reference: str, key: str) -> None:
        """Lets go of what was set aside. Raises Refused for what was captured or cancelled before."""
        await self._ask(self._stripe.payment_intents.cancel_async, reference, {}, {"idempotency_key": key})

    async def refund(self, reference: str, refund_id: UUID, amount: int, key: str) -> FoundRefund:
        wanted = {
            "payment_intent": reference, "amount": amount, "metadata": {"refund_id": str(refund_id)},
            "expand": ["balance_transaction"],
        }  # fmt: skip
        refund = await self._ask(self._stripe.refunds.create_async, wanted, {"idempotency_key": key})
        return _of_refund(_read(refund, _Refund))

    async def find_refund(self, reference: str, refund_id: UUID) -> FoundRefund | None:
        """Of the payment `reference`; None when the provider never heard of it."""
        wanted = {"payment_intent": reference, "expand": ["data.balance_transaction"]}
        async for refund in self._pages(self._stripe.refunds.list_async, wanted, _Refund):
            if refund.metadata.get("refund_id") == str(refund_id):
                return _of_refund(refund)
        return None

    async def dispute(self, reference: str) -> FoundDispute:
        return _of_dispute(_read(await self._ask(self._stripe.disputes.retrieve_async, reference), _Dispute))

    def told(self, payload: bytes, signature: str) -> Told:
        """Raises Forged."""
        for secret in self._secrets:
            try:
                _verify(payload, signature, secret, TOLERANCE_SECONDS)
            except (stripe.SignatureVerificationError, ValueError, TypeError):
                continue
            return _told(payload)
        raise Forged

    async def books(self, day: date) -> AsyncGenerator[BookLine]:
        """Of one day (UTC)."""
        begin = datetime.combine(day, clock(), UTC)
        wanted = {
            "created": {"gte": int(begin.timestamp()), "lt": int((begin + timedelta(days=1)).timestamp())},
            "expand": ["data.source"],
        }
        async for entry in self._pages(self._stripe.balance_transactions.list_async, wanted, _Booked):
            yield _line(entry)

    async def _pages(
        self, ask: Callable[..., Awaitable[Any]], wanted: dict[str, Any], kind: type[T]
    ) -> AsyncGenerator[T]:
        """All of a list. Raises NoAnswer for one that does not end: what was not seen may be there."""
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            found = await self._ask(ask, {**wanted, **after, "limit": 100})
            for item in found.data:
                yield _read(item, kind)
            if not found.has_more or not found.data:
                return
            after = {"starting_after": found.data[-1].id}
        raise NoAnswer("The list is too long to be read")

    async def _ask(self, ask: Callable[..., Awaitable[Any]], *what: Any) -> Any:
        if not self._breaker.admits():
            raise Unavailable("card-provider", "it failed time and again")
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await ask(*what)
        except (stripe.StripeError, TimeoutError) as error:
            told = _meaning(error)
            self._breaker.record(ok=isinstance(told, Refused), seconds=time.monotonic() - began)
            raise told from error
        except BaseException:
            self._breaker.abandon()
            raise
        self._breaker.record(ok=True, seconds=time.monotonic() - began)
        return answer


def _meaning(error: stripe.StripeError | TimeoutError) -> Exception:
    if isinstance(error, TimeoutError):
        return NoAnswer("no answer in time")
    if isinstance(error, stripe.APIConnectionError):
        cause = error.__cause__
        if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return Unavailable("card-provider", "it cannot be reached")
        return NoAnswer(f"the connection ended: {type(cause).__name__}")
    if isinstance(error, stripe.IdempotencyError) or error.http_status == 409:
        return NoAnswer("the same request is being carried out")
    if isinstance(error, stripe.RateLimitError | stripe.AuthenticationError | stripe.PermissionError):
        return Unavailable("card-provider", f"it turned the request away with {error.http_status}")
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return Refused(error.code or "invalid_request")
    return Broken(f"it answered {error.http_status}")


def _told(payload: bytes) -> Told:
    try:
        body = msgspec.json.decode(payload, type=dict[str, Any])
        return Told(id=str(body["id"]), type=str(body["type"]), subject=dict(body["data"]["object"]), body=body)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise Forged from None


class _Entry(msgspec.Struct, frozen=True):
    created: int


class _Charge(msgspec.Struct, frozen=True):
    balance_transaction: _Entry | str | None = None


class _CardError(msgspec.Struct, frozen=True):
    code: str | None = None
    decline_code: str | None = None


class _Intent(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    metadata: dict[str, str] = {}
    latest_charge: _Charge | str | None = None
    last_payment_error: _CardError | None = None
    cancellation_reason: str | None = None


class _Session(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount_total: int | None = None
    currency: str | None = None
    metadata: dict[str, str] = {}
    payment_intent: _Intent | str | None = None
    url: str | None = None
    client_reference_id: str | None = None


class _Refund(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    metadata: dict[str, str] = {}
    payment_intent: str | None = None
    balance_transaction: _Entry | str | None = None
    failure_reason: str | None = None


class _Dispute(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    created: int
    reason: str = ""
    payment_intent: str | None = None


class _Source(msgspec.Struct, frozen=True):
    id: str
    object: str
    amount: int = 0
    amount_captured: int = 0
    currency: str = ""
    metadata: dict[str, str] = {}
    payment_intent: str | None = None


class _Booked(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    created: int
    source: _Source | str | None = None


def _read(thing: Any, kind: type[T]) -> T:
    return msgspec.convert(thing if isinstance(thing, dict) else thing.to_dict(), kind)


def _of_session(session: _Session) -> Found:
    """A session that is complete without money is open still: the money is on its way."""
    intent = session.payment_intent if isinstance(session.payment_intent, _Intent) else None
    found = _of_intent(intent) if intent else None
    paid = found is not None and found.state in ("authorised", "captured")
    under_way = session.status == "open" or (session.status == "complete" and found is not None)
    state = found.state if found and (paid or not under_way or found.state == "ended") else "open"
    if found is None and session.status != "open":
        state = "ended"
    if session.status == "expired" and not paid:
        state = "ended"
    return Found(
        state=state,
        payment_id=session.metadata.get("payment_id"),
        tenant_id=session.metadata.get("tenant_id"),
        amount=session.amount_total,
        currency=session.currency and session.currency.upper(),
        reference=found.reference if found else None,
        checkout_id=session.id,
        checkout_url=session.url,
        failure=(found and found.failure) or ("expired" if session.status == "expired" else None),
        booked_at=found.booked_at if found else None,
    )


_STATES: dict[str, PaymentFound] = {"requires_capture": "authorised", "succeeded": "captured", "canceled": "ended"}
_REFUNDS: dict[str, RefundFound] = {"succeeded": "success", "failed": "failed", "canceled": "failed"}
_DISPUTES: dict[str, DisputeState] = {"needs_response": "open", "under_review": "open", "won": "won", "lost": "lost"}
_KINDS: dict[str, BookKind] = {"charge": "capture", "refund": "refund", "dispute": "dispute"}


def _of_intent(intent: _Intent) -> Found:
    charge = intent.latest_charge
    error = intent.last_payment_error or _CardError()
    return Found(
        state=_STATES.get(intent.status, "open"),
        payment_id=intent.metadata.get("payment_id"),
        tenant_id=intent.metadata.get("tenant_id"),
        amount=intent.amount,
        currency=intent.currency.upper(),
        reference=intent.id,
        failure=error.decline_code or error.code or intent.cancellation_reason,
        booked_at=_booked(charge.balance_transaction) if isinstance(charge, _Charge) else None,
    )


def _of_refund(refund: _Refund) -> FoundRefund:
    return FoundRefund(
        state=_REFUNDS.get(refund.status, "pending"),
        reference=refund.id,
        refund_id=refund.metadata.get("refund_id"),
        payment_reference=refund.payment_intent,
        amount=refund.amount,
        currency=refund.currency.upper(),
        failure=refund.failure_reason,
        booked_at=_booked(refund.balance_transaction),
    )


def _of_dispute(dispute: _Dispute) -> FoundDispute:
    return FoundDispute(
        state=_DISPUTES.get(dispute.status),
        reference=dispute.id,
        payment_reference=dispute.payment_intent,
        amount=dispute.amount,
        currency=dispute.currency.upper(),
        reason=dispute.reason,
        opened_at=_moment(dispute.created),
    )


def _line(entry: _Booked) -> BookLine:
    """In the currency of what it is about, which need not be the one that the account is paid out in."""
    about = entry.source if isinstance(entry.source, _Source) else None
    if about is None:
        return BookLine(
            kind="other", reference=entry.id, amount=entry.amount, currency=entry.currency.upper(), our_id=None,
            at=_moment(entry.created),
        )  # fmt: skip
    kind = _KINDS.get(about.object, "other")
    return BookLine(
        kind=kind,
        reference=(about.payment_intent or about.id) if kind == "capture" else about.id,
        amount=about.amount_captured if kind == "capture" else about.amount,
        currency=about.currency.upper(),
        our_id=about.metadata.get("refund_id" if kind == "refund" else "payment_id"),
        at=_moment(entry.created),
    )


def _booked(entry: _Entry | str | None) -> datetime | None:
    return _moment(entry.created) if isinstance(entry, _Entry) else None


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

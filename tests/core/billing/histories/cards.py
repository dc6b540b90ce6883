"""A card provider in memory: its books are the truth that ours are held against.

It stands where the adapter does, answers at once, and fails as it is told to: before it does what it was asked, or
after.
"""

import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from cloudphone_core.billing.payments.provider import (
    BookKind,
    BookLine,
    Checkout,
    Forged,
    Found,
    FoundDispute,
    FoundRefund,
    NoAnswer,
    PaymentFound,
    Refused,
    Told,
)
from cloudphone_shared.errors import Unavailable

Fault = Literal["none", "before", "after", "unreachable"]
RIGHT = "signed"


class Page(msgspec.Struct, kw_only=True):
    """A checkout, and the payment that is made on it. `took` counts how often money was taken: more than once is what
    must never be."""

    id: str
    asked: Checkout
    state: PaymentFound = "open"
    took: int = 0
    booked_at: datetime | None = None
    refunds: dict[UUID, int] = {}
    refunded_at: dict[UUID, datetime] = {}
    disputed: int = 0
    contested: int = 0
    disputes: dict[str, Literal["open", "won", "lost"]] = {}


class CardsInMemory:
    """`fault` is what becomes of the next request."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.lines: list[BookLine] = []
        self.pages: dict[str, Page] = {}
        self.answers: dict[str, Any] = {}
        self.events: list[bytes] = []
        self.fault: Fault = "none"

    async def close(self) -> None: ...

    async def open_checkout(self, wanted: Checkout, key: str) -> Found:
        return self._asked(key, lambda: self._open(wanted))

    async def find(self, payment_id: UUID, *, checkout_id: str | None, since: datetime) -> Found | None:
        self._before()
        page = next((page for page in self.pages.values() if page.asked.payment_id == payment_id), None)
        return self._answered(page and _found(page))

    async def capture(self, reference: str, key: str) -> Found:
        return self._asked(key, lambda: self._capture(self._page(reference)))

    async def close_checkout(self, checkout_id: str, key: str) -> None:
        self._asked(key, lambda: self._end(self.pages[checkout_id], "open"))

    async def cancel(self, reference: str, key: str) -> None:
        self._asked(key, lambda: self._end(self._page(reference), "authorised"))

    async def refund(self, reference: str, refund_id: UUID, amount: int, key: str) -> FoundRefund:
        return self._asked(key, lambda: self._refund(self._page(reference), refund_id, amount))

    async def find_refund(self, reference: str, refund_id: UUID) -> FoundRefund | None:
        self._before()
        page = self._page(reference)
        return self._answered(_found_refund(page, refund_id) if refund_id in page.refunds else None)

    async def dispute(self, reference: str) -> FoundDispute:
        self._before()
        page = next(page for page in self.pages.values() if reference in page.disputes)
        return self._answered(_found_dispute(page, reference))

    def told(self, payload: bytes, signature: str) -> Told:
        if signature != RIGHT:
            raise Forged
        body = json.loads(payload)
        return Told(id=body["id"], type=body["type"], subject=body["data"]["object"], body=body)

    async def books(self, day: date) -> AsyncGenerator[BookLine]:
        self._before()
        for line in self.lines:
            if line.at.date() == day:
                yield line

    def present_card(self, page: Page, *, accepted: bool) -> None:
        """What the customer does on the page."""
        if page.state != "open" or not accepted:
            return
        page.state = "authorised"
        if page.asked.later:
            self._tell("payment_intent.amount_capturable_updated", page)
        else:
            self._capture(page)

    def open_dispute(self, page: Page) -> None:
        left = page.asked.amount - sum(page.refunds.values())
        if page.state != "captured" or page.disputes or left <= 0:
            return
        page.disputed = page.contested = left
        page.disputes[f"dp_{page.id}"] = "open"
        self._enter("dispute", f"dp_{page.id}", left, None)
        self._tell_dispute("charge.dispute.created", page)

    def close_dispute(self, page: Page, *, won: bool) -> None:
        for reference, state in page.disputes.items():
            if state == "open":
                page.disputes[reference] = "won" if won else "lost"
                page.disputed = 0 if won else page.disputed
                if won:
                    self._enter("dispute", reference, page.contested, None)
                self._tell_dispute("charge.dispute.closed", page)

    def has(self, tenant_id: UUID) -> int:
        """The tenant's money that is here."""
        return sum(
            page.took * page.asked.amount - sum(page.refunds.values()) - page.disputed
            for page in self.pages.values()
            if page.asked.tenant_id == tenant_id
        )

    def _asked(self, key: str, what: Any) -> Any:
        self._before()
        if key not in self.answers:
            try:
                self.answers[key] = what()
            except Refused as refused:
                self.answers[key] = refused
        return self._answered(self.answers[key])

    def _before(self) -> None:
        if self.fault == "unreachable":
            self.fault = "none"
            raise Unavailable("card-provider", "told to")
        if self.fault == "before":
            self.fault = "none"
            raise NoAnswer("lost on the way there")

    def _answered(self, answer: Any) -> Any:
        if self.fault == "after":
            self.fault = "none"
            raise NoAnswer("lost on the way back")
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _open(self, wanted: Checkout) -> Found:
        page = Page(id=f"cs_{wanted.payment_id}", asked=wanted)
        self.pages[page.id] = page
        return _found(page)

    def _capture(self, page: Page) -> Found:
        if page.state != "authorised":
            raise Refused("payment_intent_unexpected_state")
        page.state, page.booked_at = "captured", self.now()
        page.took += 1
        self._enter("capture", f"pi_{page.id}", page.asked.amount, str(page.asked.payment_id))
        self._tell("payment_intent.succeeded", page)
        return _found(page)

    def _end(self, page: Page, expected: PaymentFound) -> None:
        if page.state != expected:
            raise Refused("unexpected_state")
        page.state = "ended"
        self._tell("payment_intent.canceled", page)

    def _refund(self, page: Page, refund_id: UUID, amount: int) -> FoundRefund:
        if page.state != "captured" or amount > page.asked.amount - sum(page.refunds.values()) - page.disputed:
            raise Refused("charge_already_refunded")
        page.refunds[refund_id] = amount
        page.refunded_at[refund_id] = self.now()
        self._enter("refund", f"re_{refund_id}", amount, str(refund_id))
        memo = {"refund_id": str(refund_id), "payment_id": str(page.asked.payment_id)}
        self._event("refund.updated", {"object": "refund", "metadata": memo})
        return _found_refund(page, refund_id)

    def _enter(self, kind: BookKind, reference: str, amount: int, our_id: str | None) -> None:
        self.lines.append(
            BookLine(kind=kind, reference=reference, amount=amount, currency="USD", our_id=our_id, at=self.now())
        )

    def _page(self, reference: str) -> Page:
        return self.pages[reference.removeprefix("pi_")]

    def _tell(self, kind: str, page: Page) -> None:
        asked = page.asked
        memo = {"payment_id": str(asked.payment_id), "tenant_id": str(asked.tenant_id)}
        subject = {"id": f"pi_{page.id}", "amount": asked.amount, "currency": asked.currency.lower(), "metadata": memo}
        self._event(kind, subject)

    def _tell_dispute(self, kind: str, page: Page) -> None:
        subject = {"id": f"dp_{page.id}", "payment_intent": f"pi_{page.id}", "amount": page.contested}
        self._event(kind, subject)

    def _event(self, kind: str, subject: dict[str, Any]) -> None:
        # Known all over the database: other histories have had their own.
        pages = len(self.pages)
        number = f"evt_{len(self.events)}_{id(self)}_{pages}_{datetime.now(UTC).timestamp()}"
        self.events.append(json.dumps({"id": number, "type": kind, "data": {"object": subject}}).encode())


def _found(page: Page) -> Found:
    asked, paid = page.asked, page.state in ("authorised", "captured", "ended")
    return Found(
        state=page.state, payment_id=str(asked.payment_id), tenant_id=str(asked.tenant_id), amount=asked.amount,
        currency=asked.currency, reference=f"pi_{page.id}" if paid else None, checkout_id=page.id,
        checkout_url=f"http://cards.test/{page.id}" if page.state == "open" else None, booked_at=page.booked_at,
    )  # fmt: skip


def _found_refund(page: Page, refund_id: UUID) -> FoundRefund:
    return FoundRefund(
        state="success", reference=f"re_{refund_id}", refund_id=str(refund_id), payment_reference=f"pi_{page.id}",
        amount=page.refunds[refund_id], currency=page.asked.currency, failure=None,
        booked_at=page.refunded_at[refund_id],
    )  # fmt: skip


def _found_dispute(page: Page, reference: str) -> FoundDispute:
    return FoundDispute(
        state=page.disputes[reference], reference=reference, payment_reference=f"pi_{page.id}",
        amount=page.contested, currency=page.asked.currency, reason="fraudulent",
        opened_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip

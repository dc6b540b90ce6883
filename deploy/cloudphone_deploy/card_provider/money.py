"""What the provider does: checkouts, payments, refunds and disputes in its books, and the events about them."""

import time
from typing import Any

from .books import Books, Thing


class Refusal(Exception):
    """An error as the API words it."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": message}}


class Money:
    """`url`: where customers reach the checkout pages."""

    def __init__(self, books: Books, url: str) -> None:
        self.books = books
        self._url = url

    def wanted(self, thing_id: str, kind: str) -> Thing:
        thing = self.books.get(thing_id, kind)
        if thing is None:
            raise Refusal(404, "resource_missing", f"No such {kind}: {thing_id}")
        return thing

    def open_checkout(self, asked: dict[str, Any]) -> Thing:
        items = list(asked.get("line_items", {}).values())
        if not items or asked.get("mode") != "payment":
            raise Refusal(400, "parameter_missing", "A payment's line items are wanted")
        prices = [item["price_data"] for item in items]
        amount = sum(int(p["unit_amount"]) * int(i.get("quantity", 1)) for p, i in zip(prices, items, strict=True))
        if amount < 50:
            raise Refusal(400, "amount_too_small", "The amount is below the least that a card takes")
        session = self.books.make(
            "cs_test", "checkout.session", status="open", payment_status="unpaid", mode="payment", amount_total=amount,
            currency=prices[0]["currency"], client_reference_id=asked.get("client_reference_id"),
            metadata=asked.get("metadata", {}), payment_intent=None, success_url=asked.get("success_url"),
            cancel_url=asked.get("cancel_url"), expires_at=int(asked.get("expires_at", time.time() + 86_400)),
            intent={"capture_method": "automatic", "metadata": {}, **asked.get("payment_intent_data", {})},
            wording=prices[0].get("product_data", {}).get("name", ""),
        )  # fmt: skip
        session["url"] = f"{self._url}/pay/{session['id']}"
        self.books.keep(session)
        return session

    def expire_checkout(self, session: Thing) -> Thing:
        self._still_open(session)
        session.update(status="expired", url=None)
        self.books.keep(session)
        if session["payment_intent"] and (intent := self.books.get(session["payment_intent"])):
            self._cancel(intent, "abandoned")
        self.tell("checkout.session.expired", session)
        return session

    def present_card(self, session: Thing, *, secure: bool = False) -> Thing:
        """A good card. With `secure` the customer still has to prove it is his."""
        self._still_open(session)
        intent = self._intent_of(session)
        intent["last_payment_error"] = None
        if secure:
            intent["status"] = "requires_action"
            self.books.keep(intent)
            self.tell("payment_intent.requires_action", intent)
            return intent
        return self._authorise(session, intent)

    def confirm(self, session: Thing) -> Thing:
        """The customer proved it."""
        self._still_open(session)
        intent = self._intent_of(session)
        if intent["status"] != "requires_action":
            raise Refusal(400, "payment_intent_unexpected_state", f"The payment is {intent['status']}")
        return self._authorise(session, intent)

    def decline(self, session: Thing, code: str) -> Thing:
        """The checkout stays open: the customer may try another card."""
        self._still_open(session)
        intent = self._intent_of(session)
        intent["status"] = "requires_payment_method"
        intent["last_payment_error"] = {"type": "card_error", "code": "card_declined", "decline_code": code}
        self.books.keep(intent)
        self.tell("payment_intent.payment_failed", intent)
        return intent

    def capture(self, intent: Thing) -> Thing:
        if intent["status"] != "requires_capture":
            raise Refusal(400, "payment_intent_unexpected_state", f"The payment is {intent['status']}")
        self._enter_capture(intent)
        return intent

    def cancel(self, intent: Thing) -> Thing:
        if intent["status"] in ("succeeded", "canceled"):
            raise Refusal(400, "payment_intent_unexpected_state", f"The payment is {intent['status']}")
        self._cancel(intent, "requested_by_customer")
        return intent

    def refund(self, asked: dict[str, Any]) -> Thing:
        intent = self.wanted(asked.get("payment_intent", ""), "payment_intent")
        charge = self.books.get(intent["latest_charge"] or "")
        if intent["status"] != "succeeded" or charge is None:
            raise Refusal(400, "charge_not_captured", "There is nothing to refund")
        amount = int(asked.get("amount", charge["amount_captured"] - charge["amount_refunded"]))
        if not 0 < amount <= charge["amount_captured"] - charge["amount_refunded"]:
            raise Refusal(400, "amount_too_large", "More than is left of the charge")
        charge["amount_refunded"] += amount
        self.books.keep(charge)
        refund = self.books.make(
            "re", "refund", amount=amount, currency=intent["currency"], payment_intent=intent["id"],
            charge=charge["id"], status="succeeded", metadata=asked.get("metadata", {}), failure_reason=None,
        )  # fmt: skip
        refund["balance_transaction"] = self._enter(refund, "refund", -amount)["id"]
        self.books.keep(refund)
        self.tell("refund.created", refund)
        return refund

    def open_dispute(self, intent: Thing, reason: str, amount: int | None) -> Thing:
        charge = self.books.get(intent["latest_charge"] or "")
        if charge is None or not charge["captured"]:
            raise Refusal(400, "charge_not_captured", "There is nothing to dispute")
        dispute = self.books.make(
            "du", "dispute", amount=amount or charge["amount_captured"], currency=charge["currency"],
            charge=charge["id"], payment_intent=intent["id"], reason=reason, status="needs_response", metadata={},
        )  # fmt: skip
        self._enter(dispute, "adjustment", -dispute["amount"])
        self.tell("charge.dispute.created", dispute)
        return dispute

    def close_dispute(self, dispute: Thing, status: str) -> Thing:
        if dispute["status"] != "needs_response" or status not in ("won", "lost"):
            raise Refusal(400, "dispute_closed", f"The dispute is {dispute['status']}")
        dispute["status"] = status
        self.books.keep(dispute)
        if status == "won":
            self._enter(dispute, "adjustment", dispute["amount"])
        self.tell("charge.dispute.closed", dispute)
        return dispute

    def tell(self, kind: str, subject: Thing) -> None:
        event = self.books.make(
            "evt", "event", type=kind, data={"object": shown(subject)}, livemode=False, api_version="2026-10-28.endive"
        )
        self.books.owe(event["id"])

    def _still_open(self, session: Thing) -> None:
        if session["status"] != "open":
            raise Refusal(400, "checkout_session_not_open", f"The checkout is {session['status']}")
        if session["expires_at"] < time.time():
            raise Refusal(400, "checkout_session_not_open", "The checkout has expired")

    def _intent_of(self, session: Thing) -> Thing:
        if session["payment_intent"]:
            return self.wanted(session["payment_intent"], "payment_intent")
        intent = self.books.make(
            "pi", "payment_intent", status="requires_payment_method", amount=session["amount_total"],
            amount_capturable=0, amount_received=0, currency=session["currency"], latest_charge=None,
            last_payment_error=None, cancellation_reason=None, **session["intent"],
        )  # fmt: skip
        session["payment_intent"] = intent["id"]
        self.books.keep(session)
        return intent

    def _authorise(self, session: Thing, intent: Thing) -> Thing:
        charge = self.books.make(
            "ch", "charge", amount=intent["amount"], amount_captured=0, amount_refunded=0, currency=intent["currency"],
            captured=False, paid=True, payment_intent=intent["id"], metadata=intent["metadata"],
            balance_transaction=None,
        )  # fmt: skip
        intent["latest_charge"] = charge["id"]
        session.update(status="complete", url=None)
        if intent["capture_method"] == "manual":
            intent.update(status="requires_capture", amount_capturable=intent["amount"])
            self.books.keep(intent)
            self.tell("payment_intent.amount_capturable_updated", intent)
        else:
            session["payment_status"] = "paid"
            self._enter_capture(intent)
        self.books.keep(session)
        self.tell("checkout.session.completed", session)
        return intent

    def _enter_capture(self, intent: Thing) -> None:
        charge = self.wanted(intent["latest_charge"], "charge")
        charge.update(captured=True, amount_captured=intent["amount"])
        charge["balance_transaction"] = self._enter(charge, "charge", intent["amount"])["id"]
        self.books.keep(charge)
        intent.update(status="succeeded", amount_capturable=0, amount_received=intent["amount"])
        self.books.keep(intent)
        self.tell("payment_intent.succeeded", intent)

    def _enter(self, source: Thing, kind: str, amount: int) -> Thing:
        return self.books.make(
            "txn", "balance_transaction", amount=amount, net=amount, fee=0, currency=source["currency"], type=kind,
            source=source["id"],
        )  # fmt: skip

    def _cancel(self, intent: Thing, reason: str) -> None:
        if intent["status"] in ("succeeded", "canceled"):
            return
        intent.update(status="canceled", amount_capturable=0, cancellation_reason=reason)
        self.books.keep(intent)
        self.tell("payment_intent.canceled", intent)


def shown(thing: Thing) -> Thing:
    """Without what the provider keeps to itself."""
    return {name: value for name, value in thing.items() if name not in ("intent", "wording")}

"""The page where a customer pays: plain forms, so that a script can fill them in."""

from html import escape
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from cloudphone_shared.http.app import PUBLIC

from .books import Thing
from .money import Money, Refusal

_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Checkout</title>
<style>body{{font:16px sans-serif;max-width:26em;margin:4em auto}}button{{margin:.3em 0;width:100%}}</style>
<h1>{price}</h1><p>{wording}</p><p>{note}</p>{forms}"""
_FORM = '<form method="post" action="/pay/{session}/{action}"><button>{label}</button></form>'

CHOICES = {
    "pay": "Pay",
    "secure": "Pay with a card that asks for 3-D Secure",
    "refuse": "Pay with a card that is declined",
    "cancel": "Go back without paying",
}
PROOF = {"confirm": "Confirm that it is me", "fail": "Fail the confirmation"}


def routes(money: Money, told: Any) -> list[ControllerRouterHandler]:
    """`told` is called when an event may have been written."""

    @get("/pay/{session_id:str}", opt=PUBLIC)
    async def show(session_id: FromPath[str]) -> Response[str]:
        session = money.books.get(session_id, "checkout.session")
        if session is None:
            return _html("<p>There is no such checkout.</p>", 404)
        return _shown(money, session, "")

    @post("/pay/{session_id:str}/{action:str}", opt=PUBLIC, status_code=200)
    async def act(session_id: FromPath[str], action: FromPath[str]) -> Response[Any]:
        session = money.books.get(session_id, "checkout.session")
        if session is None or action not in {**CHOICES, **PROOF}:
            return _html("<p>There is no such checkout.</p>", 404)
        try:
            with money.books.changing():
                back = _act(money, session, action)
        except Refusal as refusal:
            return _shown(money, session, str(refusal))
        told()
        if back is not None:
            return Redirect(back.replace("{CHECKOUT_SESSION_ID}", session_id), status_code=303)
        note = "" if action == "secure" else "The card was declined. Try another one."
        return _shown(money, money.wanted(session_id, "checkout.session"), note)

    return [show, act]


def _act(money: Money, session: Thing, action: str) -> str | None:
    """Where the customer goes next; None: stays."""
    if action == "cancel":
        return session["cancel_url"]
    if action in ("refuse", "fail"):
        money.decline(session, "generic_decline" if action == "refuse" else "authentication_failed")
        return None
    if action == "confirm":
        money.confirm(session)
    else:
        money.present_card(session, secure=action == "secure")
    return None if action == "secure" else session["success_url"]


def _shown(money: Money, session: Thing, note: str) -> Response[str]:
    intent = money.books.get(session["payment_intent"] or "") or {}
    choices = PROOF if intent.get("status") == "requires_action" else CHOICES
    if session["status"] != "open":
        choices, note = {}, f"This checkout is {session['status']}. {note}"
    forms = "".join(_FORM.format(session=session["id"], action=name, label=label) for name, label in choices.items())
    price = f"{session['amount_total'] / 100:.2f} {session['currency'].upper()}"
    return _html(_PAGE.format(price=price, wording=escape(session["wording"]), note=escape(note), forms=forms), 200)


def _html(text: str, status: int) -> Response[str]:
    return Response(text, status_code=status, media_type="text/html")

"""What a test, or somebody trying things out, may do to the provider; with its API key."""

import time
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from cloudphone_shared.errors import Invalid, NotFound, Unauthorized
from cloudphone_shared.http.app import PUBLIC

from .api import authorised
from .faults import Fault, Faults, Webhooks
from .money import Money, Refusal, shown
from .sender import Sender, signed


class Behaviour(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    webhooks: Webhooks = "send"
    faults: list[Fault] = []


class Opened(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    payment_intent: str
    reason: str = "fraudulent"
    amount: int | None = None


class Closed(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    status: str


def routes(money: Money, faults: Faults, sender: Sender, *, api_key: str, secret: str) -> list[ControllerRouterHandler]:
    async def keyed(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if not authorised(connection.headers.get("authorization", ""), api_key):
            raise Unauthorized("Send the provider's API key")

    @post("/control/behaviour", opt=PUBLIC, guards=[keyed], status_code=200)
    async def behave(data: JSONBody[Behaviour]) -> dict[str, str]:
        """In place of all that was wanted before."""
        faults.clear()
        faults.webhooks = data.webhooks
        for fault in data.faults:
            faults.add(fault)
        sender.wake()
        return {"webhooks": faults.webhooks}

    @get("/control/webhooks", opt=PUBLIC, guards=[keyed])
    async def fetch() -> list[dict[str, str]]:
        """What is owed, signed now, oldest first; it is owed no more."""
        owed = money.books.owed()
        with money.books.changing():
            money.books.paid_off([number for number, _, _ in owed])
        found = [signed(event, secret) for _, event, _ in owed]
        return [{"body": body.decode(), "signature": signature} for body, signature in found]

    @get("/control/things/{thing_id:str}", opt=PUBLIC, guards=[keyed])
    async def look(thing_id: FromPath[str]) -> dict[str, Any]:
        thing = money.books.get(thing_id)
        if thing is None:
            raise NotFound(f"There is no {thing_id}")
        return shown(thing)

    @get("/control/books", opt=PUBLIC, guards=[keyed])
    async def entries() -> list[dict[str, Any]]:
        """The newest thousand."""
        return money.books.listed("balance_transaction", limit=1000)[0]

    @post("/control/things/{thing_id:str}", opt=PUBLIC, guards=[keyed], status_code=200)
    async def falsify(thing_id: FromPath[str], request: Request[Any, Any, Any]) -> dict[str, Any]:
        """Fields of the body in place of the thing's own."""
        thing = money.books.get(thing_id)
        if thing is None:
            raise NotFound(f"There is no {thing_id}")
        thing.update(await request.json())
        with money.books.changing():
            money.books.keep(thing)
        return shown(thing)

    @post("/control/disputes", opt=PUBLIC, guards=[keyed])
    async def open_dispute(data: JSONBody[Opened]) -> dict[str, Any]:
        try:
            with money.books.changing():
                intent = money.wanted(data.payment_intent, "payment_intent")
                dispute = money.open_dispute(intent, data.reason, data.amount)
        except Refusal as refusal:
            raise Invalid(str(refusal)) from None
        sender.wake()
        return dispute

    @post("/control/disputes/{dispute_id:str}", opt=PUBLIC, guards=[keyed], status_code=200)
    async def close_dispute(dispute_id: FromPath[str], data: JSONBody[Closed]) -> dict[str, Any]:
        try:
            with money.books.changing():
                dispute = money.close_dispute(money.wanted(dispute_id, "dispute"), data.status)
        except Refusal as refusal:
            raise Invalid(str(refusal)) from None
        sender.wake()
        return dispute

    @get("/control/time", opt=PUBLIC, guards=[keyed])
    async def moment() -> dict[str, int]:
        return {"now": int(time.time())}

    return [behave, fetch, look, entries, falsify, open_dispute, close_dispute, moment]

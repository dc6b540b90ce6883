"""The part of Stripe's API that billing uses: form-encoded requests, JSON answers, Idempotency-Keys, `expand`."""

import asyncio
import base64
import hmac
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response, route
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from cloudphone_shared.http.app import PUBLIC

from .books import Thing
from .faults import HANG_SECONDS, Fault, Faults
from .money import Money, Refusal, shown

Does = Callable[[Money, str, dict[str, Any]], Thing]

OPERATIONS: Mapping[tuple[str, str, str], tuple[str, Does]] = {
    ("POST", "checkout/sessions", ""): ("checkout.create", lambda money, _, asked: money.open_checkout(asked)),
    ("GET", "checkout/sessions", "id"): (
        "checkout.retrieve",
        lambda money, key, _: money.wanted(key, "checkout.session"),
    ),
    ("POST", "checkout/sessions", "expire"): (
        "checkout.expire",
        lambda money, key, _: money.expire_checkout(money.wanted(key, "checkout.session")),
    ),
    ("GET", "payment_intents", "id"): ("intent.retrieve", lambda money, key, _: money.wanted(key, "payment_intent")),
    ("POST", "payment_intents", "capture"): (
        "intent.capture",
        lambda money, key, _: money.capture(money.wanted(key, "payment_intent")),
    ),
    ("POST", "payment_intents", "cancel"): (
        "intent.cancel",
        lambda money, key, _: money.cancel(money.wanted(key, "payment_intent")),
    ),
    ("POST", "refunds", ""): ("refund.create", lambda money, _, asked: money.refund(asked)),
    ("GET", "refunds", "id"): ("refund.retrieve", lambda money, key, _: money.wanted(key, "refund")),
    ("GET", "disputes", "id"): ("dispute.retrieve", lambda money, key, _: money.wanted(key, "dispute")),
    ("GET", "events", "id"): ("event.retrieve", lambda money, key, _: money.wanted(key, "event")),
}  # fmt: skip
"""By method, resource, and what follows its id."""

LISTS = {
    "checkout/sessions": ("checkout.list", "checkout.session"),
    "refunds": ("refund.list", "refund"),
    "balance_transactions": ("books.list", "balance_transaction"),
    "events": ("event.list", "event"),
    "disputes": ("dispute.list", "dispute"),
}


def routes(money: Money, faults: Faults, api_key: str, told: Callable[[], None]) -> list[ControllerRouterHandler]:
    """`told` is called when an event may have been written."""

    @route("/v1/{path:path}", http_method=["GET", "POST"], opt=PUBLIC, status_code=200)
    async def api(request: Request[Any, Any, Any], path: str) -> Response[Any]:
        if not authorised(request.headers.get("authorization", ""), api_key):
            return _answer(401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key"}})
        body = await request.body()
        query = request.scope["query_string"]
        asked = form((query + b"&" + body).decode())
        resource, key, verb = _place(path.strip("/"))
        if request.method == "GET" and not key and resource in LISTS:
            operation = LISTS[resource][0]
            does: Callable[[], Thing] = lambda: _page(money, resource, asked)  # noqa: E731
        else:
            found = OPERATIONS.get((request.method, resource, verb or ("id" if key else "")))
            if found is None:
                return _answer(404, {"error": {"type": "invalid_request_error", "message": f"No such place: {path}"}})
            operation = found[0]
            does = lambda: shown(found[1](money, key, asked))  # noqa: E731
        fault = faults.due(operation)
        if fault is not None:
            does = await _faulty(fault, does)
        answer = _once(money, request.headers.get("idempotency-key"), path.encode() + b"?" + body, does, asked)
        told()
        return await _after(fault, answer)

    return [api]


def authorised(header: str, api_key: str) -> bool:
    """As a bearer, or as the user of basic authentication."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[0]
        except ValueError:
            return False
    return hmac.compare_digest(value.encode(), api_key.encode())


def form(text: str) -> dict[str, Any]:
    """`a[b][0]=c` as {"a": {"b": {"0": "c"}}}."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        *path, last = name.replace("]", "").split("[")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last or str(len(place))] = value
    return found


def _once(
    money: Money, key: str | None, question: bytes, does: Callable[[], Thing], asked: dict[str, Any]
) -> tuple[int, bytes]:
    """The first answer of an Idempotency-Key, for ever."""
    books = money.books
    with books.changing():
        if key and (before := books.answered(key)):
            if before[0] != question:
                error = {"type": "idempotency_error", "message": "The key was used with other parameters"}
                return 400, msgspec.json.encode({"error": error})
            return before[1], before[2]
        try:
            thing = _expanded(money, does(), list(asked.get("expand", {}).values()))
            status, body = 200, msgspec.json.encode(thing)
        except Refusal as refusal:
            status, body = refusal.status, msgspec.json.encode(refusal.body)
        if key:
            books.answer(key, question, status, body)
        return status, body


def _place(path: str) -> tuple[str, str, str]:
    parts = path.split("/")
    if parts[0] == "checkout":
        parts = ["/".join(parts[:2]), *parts[2:]]
    resource, key, verb = [*parts, "", ""][:3]
    return resource, key, verb


def _page(money: Money, resource: str, asked: dict[str, Any]) -> Thing:
    limit = min(100, int(asked.get("limit", 10)))
    created = asked.get("created", {})
    if resource == "refunds" and "payment_intent" in asked:
        items, more = money.books.of_intent("refund", asked["payment_intent"]), False
    else:
        items, more = money.books.listed(
            LISTS[resource][1], since=int(created.get("gte", 0)), until=int(created.get("lt", 2**62)),
            after=asked.get("starting_after"), limit=limit,
        )  # fmt: skip
    return {"object": "list", "url": f"/v1/{resource}", "has_more": more, "data": [shown(item) for item in items]}


def _expanded(money: Money, thing: Any, paths: list[str]) -> Any:
    for path in paths:
        _expand(money, thing, path.split("."))
    return thing


def _expand(money: Money, thing: Any, path: list[str]) -> None:
    if not path or not isinstance(thing, dict):
        return
    known = cast(Thing, thing)
    value: Any = known.get(path[0])
    if isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _expand(money, item, path[1:])
        return
    if isinstance(value, str) and (found := money.books.get(value)):
        known[path[0]] = value = shown(found)
    _expand(money, value, path[1:])


async def _faulty(fault: Fault, does: Callable[[], Thing]) -> Callable[[], Thing]:
    """What is done instead. A failure is the answer to its Idempotency-Key as well as a success is."""
    if fault.how == "slow":
        await asyncio.sleep(fault.seconds)
    if fault.how == "fail-before":
        return partial(_raise, Refusal(500, "broken", "Something broke", "api_error"))
    if fault.how == "refuse":
        return partial(_raise, Refusal(400, "refused", "Refused"))
    return does


def _raise(refusal: Refusal) -> Thing:
    raise refusal


async def _after(fault: Fault | None, answer: tuple[int, bytes]) -> Response[Any]:
    if fault is not None and fault.how == "fail-after":
        return _broken()
    if fault is not None and fault.how == "hang-after":
        await asyncio.sleep(HANG_SECONDS)
    if fault is not None and fault.how == "cut-after":
        return Stream(_cut_off(answer[1]), media_type="application/json")
    return Response(answer[1], status_code=answer[0], media_type="application/json")


async def _cut_off(body: bytes) -> AsyncGenerator[bytes]:
    """Half of it, and then the connection ends."""
    yield body[: len(body) // 2]
    raise ConnectionAbortedError


def _answer(status: int, body: Thing) -> Response[Any]:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def _broken() -> Response[Any]:
    return _answer(500, {"error": {"type": "api_error", "message": "Something broke"}})

"""Whoever tampers with money is refused with a problem document, is found in the log, and moves nothing."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from tests.conditions import eventually
from tests.journeys.client import PASSWORD, Person, Staff
from tests.journeys.conftest import OnNats
from tests.journeys.shop import Customer, Shop

pytestmark = pytest.mark.anyio

HUGE = 10**30
AMOUNTS: dict[str, str] = {
    "negative": "-100",
    "zero": "0",
    "huge": str(HUGE),
    "beyond 64 bits": str(2**63),
    "fractional": "100.5",
    "a whole float": "100.0",
    "with an exponent": "1e3",
    "text": '"100"',
    "words": '"a hundred"',
    "true": "true",
    "null": "null",
    "a list": "[100]",
    "an object": '{"amount": 100}',
    "NaN": "NaN",
    "infinite": "1e999",
    "hexadecimal": "0x64",
    "with a separator": "1_000",
}
MALFORMED = ("usd", "US", "USDT", "", "U$D", 840, None, ["USD"])
OTHERS = ("JPY", "EUR")
"""Of which the customer has nothing."""


class Attempt(NamedTuple):
    who: Person
    method: str
    path: str
    body: str
    """As it is sent."""


class Books:
    """What nothing may move: the customer's wallet, transfers and orders. All accounts together add up to zero; what
    they hold changes meanwhile, as others are invoiced."""

    def __init__(self, shop: Shop, victim: Customer) -> None:
        self._shop, self._victim = shop, victim
        self._before: object = None

    async def open(self) -> "Books":
        self._before = await self._look()
        return self

    async def are_unmoved(self) -> bool:
        now = await self._look()
        assert now == self._before
        return True

    async def _look(self) -> object:
        trial = await self._shop.admin.ask("billing", "GET", "/v1/trial-balance")
        assert trial["balanced"]
        place = f"/v1/transfers?userId={self._victim.ids['user']}&limit=100"
        moved = (await self._shop.admin.ask("billing", "GET", place))["items"]
        return moved, await self._victim.wallet(), await self._victim.orders("completed")


@asynccontextmanager
async def _a_customer_who_bought(
    admin: Staff, platform: OnNats
) -> AsyncGenerator[tuple[Shop, Customer, dict[str, Any]]]:
    shop = await Shop(platform, admin).open(devices=1, price=1000)
    async with shop.customer(money=3000) as ana:
        order = (await ana.buy()).json()

        async def completed() -> Any:
            await shop.beat()
            found = await admin.ask("billing", "GET", f"/v1/orders/{order['id']}")
            return found if found["state"] == "completed" else None

        yield shop, ana, await eventually(completed, within=120)


async def _refused(attempt: Attempt) -> str:
    """The request id of the refusal."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
    answer = await attempt.who.http.request(
        attempt.method, attempt.path, content=attempt.body.encode(), headers=headers
    )
    assert 400 <= answer.status_code < 500, f"{attempt[1:]}: {answer.status_code} {answer.text[:300]}"
    assert answer.headers["Content-Type"].startswith("application/problem+json"), attempt[1:]
    problem = answer.json()
    assert problem["status"] == answer.status_code and problem["title"] and problem["code"], problem
    return problem["requestId"]


def _is_logged(platform: OnNats, request_ids: list[str]) -> bool:
    log = "\n".join(process.log for process in platform.processes.values())
    return all(request_id in log for request_id in request_ids)


async def test_wrong_amounts_and_currencies_and_tampered_prices_move_nothing(admin: Staff, platform: OnNats) -> None:
    async with _a_customer_who_bought(admin, platform) as (shop, ana, order):
        books = await Books(shop, ana).open()
        one = f"/admin/orders/{order['id']}"
        gift = f"/admin/users/{ana.ids['user']}/adjustments"
        attempts = [
            Attempt(who, "POST", path, body % amount)
            for kind, amount in AMOUNTS.items()
            for who, path, body in (
                (ana, "/my/recharges", '{"amount": %s, "currency": "USD"}'),
                (admin, gift, '{"amount": %s, "currency": "USD", "reason": "x"}'),
                (admin, f"{one}/refund", '{"amount": %s}'),
                (admin, "/admin/plans", '{"name": "x", "price": %s}'),
                (admin, f"/admin/plans/{shop.plan}/revisions", '{"price": %s}'),
                (admin, "/admin/coupons", '{"code": "CHEAP", "currency": "USD", "amount": %s}'),
            )
            if not _is_fine(path, kind)
        ]
        attempts += [
            Attempt(who, "POST", path, body % json.dumps(currency))
            for currency in (*MALFORMED, *OTHERS)
            for who, path, body in (
                (ana, "/my/recharges", '{"amount": 500, "currency": %s}'),
                (admin, gift, '{"amount": -500, "currency": %s, "reason": "x"}'),
            )
            if currency not in OTHERS or who is admin
        ]
        attempts += [Attempt(ana, "POST", "/my/orders", json.dumps(body)) for body in _tampered(shop, admin)]
        attempts += [
            Attempt(admin, "POST", f"{one}/refund", '{"amount": 1001}'),
            Attempt(admin, "POST", f"{one}/refund", '{"amount": 1, "currency": "EUR"}'),
            Attempt(admin, "POST", f"{one}/refund", json.dumps({"amount": 1, "userId": str(uuid4())})),
            Attempt(admin, "POST", gift, '{"amount": -2001, "currency": "USD", "reason": "more than there is"}'),
            Attempt(ana, "POST", "/my/recharges", json.dumps({"amount": 500, "userId": str(uuid4())})),
            Attempt(ana, "POST", "/my/recharges", '{"amount": 500, "state": "success"}'),
            Attempt(admin, "POST", "/admin/tax-rates", _tax(-1)),
            Attempt(admin, "POST", "/admin/tax-rates", _tax(101)),
            Attempt(admin, "POST", "/admin/tax-rates", _tax("19.00001")),
            Attempt(admin, "POST", "/admin/billing-rules", _rule("-1")),
            Attempt(admin, "POST", "/admin/billing-rules", _rule("NaN")),
            Attempt(admin, "POST", "/admin/billing-rules", _rule("Infinity")),
            Attempt(admin, "POST", "/admin/billing-rules", _rule("1e40")),
        ]

        refusals = [await _refused(attempt) for attempt in attempts]

        assert await books.are_unmoved()
        await eventually(lambda: _is_logged(platform, refusals))


def _is_fine(path: str, kind: str) -> bool:
    """What looks odd and is meant."""
    taken = kind == "negative" and path.endswith("/adjustments")
    free = kind == "zero" and (path == "/admin/plans" or path.endswith("/revisions"))
    whole = kind == "null" and path.endswith("/refund")
    return taken or free or whole


def _tampered(shop: Shop, admin: Staff) -> list[dict[str, object]]:
    """Purchases that bring along what is not the customer's to say."""
    extras: tuple[dict[str, object], ...] = (
        {"amount": 1}, {"price": 1}, {"listPrice": 0}, {"discount": 999}, {"tax": 0}, {"currency": "EUR"},
        {"planRevision": 0}, {"state": "paid"}, {"kind": "renewal"}, {"credit": 1000}, {"paymentId": str(uuid4())},
        {"userId": str(uuid4())}, {"orderId": str(uuid4())}, {"sagaId": str(uuid4())}, {"paymentMethod": "gold"},
        {"paymentMethod": "WALLET"}, {"couponCode": "NO-SUCH-COUPON"}, {"couponCode": "' OR 1=1"},
        {"couponCode": ["A", "B"]}, {"couponCode": "X" * 41}, {"planId": str(uuid4())}, {"planId": "1"},
        {"deviceId": str(uuid4())},
    )  # fmt: skip
    return [{"planId": shop.plan, **extra} for extra in extras]


def _tax(percent: object) -> str:
    return json.dumps({"country": "DE", "name": "VAT", "percent": percent, "validFrom": "2020-01-01"})


def _rule(rate: str) -> str:
    return json.dumps({"name": "x", "kind": "per-use", "currency": "USD", "definition": {"rate": rate}})


async def test_a_coupon_is_used_as_often_as_it_may_be(admin: Staff, platform: OnNats) -> None:
    shop = await Shop(platform, admin).open(devices=0, price=1000)
    once, dear, late = (f"{name}-{uuid4().hex[:8].upper()}" for name in ("ONCE", "OTHER", "LATE"))
    other = await admin.ask("billing", "POST", "/v1/plans", {"name": "Other", "price": 5})
    for coupon in (
        {"code": once, "percent": 50, "mostUses": 3},
        {"code": dear, "percent": 50, "planId": other["id"]},
        {"code": late, "percent": 50, "validUntil": "2020-01-01T00:00:00Z", "validFrom": "2019-01-01T00:00:00Z"},
    ):
        await admin.ask("billing", "POST", "/v1/coupons", coupon)
    async with shop.customer(money=6000) as ana, shop.customer(money=6000) as ben:
        for code in (dear, late, once.lower()):
            assert (await ana.buy(couponCode=code)).status_code in (400, 404, 409)
        assert await ana.wallet() == (6000, 0)
        [first, *others] = sorted([await ana.buy(couponCode=once) for _ in range(3)], key=lambda it: it.status_code)
        assert first.status_code == 201, first.text
        assert {answer.status_code for answer in others} == {409}
        assert await ana.wallet() == (5500, 500)
        assert (await ben.buy(couponCode=once)).status_code == 201
        # What came to nothing gives its use back.
        await shop.their_time_is_up(ana.ids["user"])

        async def is_back() -> bool:
            return await ana.wallet() == (6000, 0)

        await eventually(is_back, within=120)
        assert (await ana.buy(couponCode=once)).status_code == 201
        for person in (ana, ben):
            await shop.their_time_is_up(person.ids["user"])

        async def nobody_waits() -> bool:
            return await ana.open_sagas() + await ben.open_sagas() == 0

        await eventually(nobody_waits, within=120)


async def test_money_of_others_is_out_of_reach(admin: Staff, platform: OnNats) -> None:
    async with _a_customer_who_bought(admin, platform) as (shop, ana, order), shop.customer() as eve:
        books = await Books(shop, ana).open()
        async with Staff(platform, "admin", "basalt") as stranger, Staff(platform, "support", "aurora") as support:
            user, own = ana.ids["user"], f"/my/orders/{order['id']}"
            gift = '{"amount": 100, "currency": "USD", "reason": "x"}'
            attempts = [
                Attempt(eve, "GET", own, ""),
                Attempt(eve, "POST", f"{own}/cancel", "{}"),
                Attempt(eve, "GET", f"/my/payments/{order['paymentId']}", ""),
                Attempt(eve, "POST", "/my/orders", json.dumps({"planId": shop.plan, "deviceId": order["deviceId"]})),
                Attempt(eve, "POST", "/my/orders", json.dumps({"planId": shop.plan, "userId": user})),
                Attempt(stranger, "POST", f"/admin/orders/{order['id']}/refund", "{}"),
                Attempt(stranger, "POST", f"/admin/orders/{order['id']}/cancel", "{}"),
                Attempt(stranger, "POST", f"/admin/users/{user}/adjustments", gift),
                Attempt(stranger, "POST", "/admin/invoices", json.dumps({"userId": user})),
                Attempt(stranger, "POST", "/admin/orders", json.dumps({"planId": shop.plan, "userId": user})),
                Attempt(stranger, "GET", f"/admin/users/{user}/balance", ""),
                Attempt(stranger, "GET", f"/admin/users/{user}/statement?currency=USD", ""),
                Attempt(stranger, "PUT", f"/admin/users/{user}/quotas/devices", '{"limit": 0}'),
                Attempt(support, "POST", f"/admin/users/{user}/adjustments", gift),
                Attempt(support, "POST", f"/admin/orders/{order['id']}/refund", "{}"),
                Attempt(support, "POST", "/admin/coupons", '{"code": "MINE", "percent": 100}'),
            ]
            billing = platform.url("billing")
            attempts += [
                Attempt(eve, "GET", f"{billing}/v1/users/{user}/{what}", "")
                for what in ("balance", "transactions", "statement?currency=USD", "cost", "budget", "bill-to")
            ]
            attempts += [
                Attempt(eve, "POST", f"{billing}/v1/users/{user}/adjustments", gift),
                Attempt(eve, "POST", f"{billing}/v1/recharges", json.dumps({"amount": 500, "userId": user})),
                Attempt(eve, "POST", f"{billing}/v1/orders/{order['id']}/refund", "{}"),
                Attempt(eve, "POST", f"{billing}/v1/payments/{order['paymentId']}/refund", "{}"),
                Attempt(eve, "GET", f"{billing}/v1/transfers", ""),
                Attempt(eve, "GET", f"{billing}/v1/trial-balance", ""),
                Attempt(eve, "GET", f"{billing}/v1/sagas", ""),
            ]
            refusals = [await _refused(attempt) for attempt in attempts]
        assert await books.are_unmoved()
        await eventually(lambda: _is_logged(platform, refusals))


async def test_who_asks_for_much_does_not_approve_it(admin: Staff, platform: OnNats) -> None:
    other = await admin.new_user("Colleague", role="admin")
    token = platform.sign_in("bff-admin", other["email"], PASSWORD)["accessToken"]
    async with Shop(platform, admin).customer() as ana, Person(platform, "bff-admin", token) as colleague:
        place = f"/v1/users/{ana.ids['user']}/adjustments"
        asked = await admin.ask("billing", "POST", place, {"amount": 10_001, "currency": "USD", "reason": "much"})
        assert asked["state"] == "waiting"
        one = f"{platform.url('billing')}/v1/adjustments/{asked['id']}"
        await _refused(Attempt(admin, "POST", f"{one}/approve", "{}"))
        await _refused(Attempt(ana, "POST", f"{one}/approve", "{}"))
        assert await ana.wallet() == (0, 0)
        both = [await colleague.http.post(f"{one}/{how}", json={}) for how in ("approve", "reject")]
        assert [answer.status_code for answer in both] == [200, 409], [answer.text for answer in both]
        assert await ana.wallet() == (10_001, 0)


class Provider:
    """Knows the secret, as the provider does, or not."""

    def __init__(self, platform: OnNats) -> None:
        self._url = platform.url("billing") + "/v1/webhooks/card"
        self._secret = platform.environment["CLOUDPHONE_CARD_WEBHOOK_SECRETS"]

    def signature(self, body: bytes, *, ago: float = 0, secret: str | None = None, at: float | None = None) -> str:
        stamp = int((time.time() if at is None else at) - ago)
        signed = hmac.new((secret or self._secret).encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return f"t={stamp},v1={signed}"

    async def tell(self, body: bytes, signature: str | None) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers["Stripe-Signature"] = signature
        async with httpx.AsyncClient(timeout=120) as http:
            return await http.post(self._url, content=body, headers=headers)


async def test_a_webhook_is_believed_when_it_is_signed_in_time_and_once(admin: Staff, platform: OnNats) -> None:
    async with Shop(platform, admin).customer() as ana:
        wanted = (await ana.http.post("/my/recharges", json={"amount": 500, "currency": "USD"})).json()
        payment = await admin.ask("billing", "GET", f"/v1/payments/{wanted['id']}")
        books = await Books(ana.shop, ana).open()
        provider = Provider(platform)
        paid = json.dumps({
            "id": f"evt_{uuid4().hex}", "object": "event", "type": "checkout.session.completed",
            "created": int(time.time()), "livemode": False, "api_version": None,
            "data": {"object": {
                "id": "cs_forged", "object": "checkout.session", "payment_status": "paid", "status": "complete",
                "client_reference_id": payment["id"], "amount_total": 500, "currency": "usd",
                "metadata": {"payment_id": payment["id"]}, "payment_intent": "pi_forged",
            }},
        }).encode()  # fmt: skip
        genuine = provider.signature(paid)
        for body, signature in (
            (paid, None), (paid, ""), (paid, "t=1"), (paid, "v1=abc"), (paid, genuine[:-1]),
            (paid, provider.signature(paid, secret="whsec_guessed")), (paid, provider.signature(paid, ago=3600)),
            (paid.replace(b": 500", b": 900"), genuine), (b"", provider.signature(b"x")), (b"{", genuine),
        ):  # fmt: skip
            answer = await provider.tell(body, signature)
            assert 400 <= answer.status_code < 500, f"{signature}: {answer.status_code} {answer.text}"
            assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert await books.are_unmoved()
        refused = await admin.ask("billing", "GET", "/v1/webhook-deliveries?limit=20")
        assert "refused" in {delivery["outcome"] for delivery in refused["items"]}

        # Paid in earnest, then told once more: that is another delivery, and no more money.
        page = wanted["checkoutUrl"]
        async with httpx.AsyncClient(timeout=120) as http:
            assert (await http.post(f"{page}/pay")).status_code == 303

        async def arrived() -> bool:
            return await ana.wallet() == (500, 0)

        await eventually(arrived, within=120)

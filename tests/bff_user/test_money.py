"""A customer's money in the portal: what one has, what moved, what use costs; a write is there at the next read."""

import uuid
from typing import Any

import pytest

from tests.browser import Console
from tests.conditions import eventually
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def _customer(services: Services, given: int = 0) -> tuple[dict[str, Any], dict[str, str]]:
    user = await services.user("Ana")
    if given:
        asked = {"amount": given, "currency": "USD", "reason": "Welcome"}
        await services.ask("POST", "billing", f"/v1/users/{user['id']}/adjustments", asked)
    return user, await services.signed_in(user["email"])


async def test_a_wallet_is_shown_with_what_moved_in_it(portal: Console, services: Services) -> None:
    ana, by = await _customer(services)
    empty = await portal.seen("/my/balance", by=by)
    assert (empty["balance"]["wallets"], empty["latest"]) == ([], [])
    asked = {"amount": 4200, "currency": "USD", "reason": "Welcome"}
    await services.ask("POST", "billing", f"/v1/users/{ana['id']}/adjustments", asked)

    async def filled() -> Any:
        shown = await portal.seen("/my/balance", by=by)
        return shown if shown["balance"]["wallets"] else None

    shown = await eventually(filled)
    assert shown["balance"]["wallets"][0]["available"] == shown["latest"][0]["amount"] == 4200
    moved = (await portal.seen("/my/transactions?kind=adjustment", by=by))["items"]
    assert [each["balanceAfter"] for each in moved] == [4200]
    assert (await portal.seen("/my/statement", by=by))["closingBalance"] == 4200
    table = await portal.get("/my/statement?format=csv", by=by)
    assert table.headers["Content-Type"].startswith("text/csv") and table.text.count("\n") >= 2
    assert "attachment" in table.headers["Content-Disposition"]


async def test_a_budget_that_was_set_stands_at_once_beside_what_use_costs(portal: Console, services: Services) -> None:
    _, by = await _customer(services)
    assert (await portal.seen("/my/usage", by=by))["cost"]["budget"] is None
    services.bus.held.clear()
    try:
        wanted = {"amount": 2500, "warnPercent": 50, "lowBalance": 100}
        answer = await portal.ask("PUT", "/my/budget", wanted, by=by)
        assert answer.status_code == 200, answer.text
        usage = await portal.seen("/my/usage", by=by, fresh_after=answer.headers["Fresh-After"])
        assert usage["cost"]["budget"]["amount"] == 2500
    finally:
        services.bus.held.set()
    assert (await portal.seen("/my/budget", by=by))["warnPercent"] == 50


async def test_a_coupon_is_checked_before_buying(portal: Console, services: Services) -> None:
    _, by = await _customer(services)
    plan, code = await services.plan(price=2000), f"C-{uuid.uuid4().hex[:8].upper()}"
    await services.ask("POST", "billing", "/v1/coupons", {"code": code, "percent": 25})
    checked = await portal.seen(f"/plans/check-coupon?code={code}&planId={plan['id']}", by=by)
    assert (checked["listPrice"], checked["discount"], checked["amount"]) == (2000, 500, 1500)
    unknown = await portal.get(f"/plans/check-coupon?code=NO-SUCH&planId={plan['id']}", by=by)
    assert unknown.status_code in (404, 409)
    assert (await portal.get(f"/plans/check-coupon?code=no+such&planId={plan['id']}", by=by)).status_code == 400


async def test_invoices_are_made_out_to_whom_one_says(portal: Console, services: Services) -> None:
    _, by = await _customer(services)
    assert (await portal.seen("/my/bill-to", by=by))["name"] == "Ana"
    answer = await portal.ask("PUT", "/my/bill-to", {"name": "Ana Ltd", "country": "DE"}, by=by)
    assert answer.status_code == 200, answer.text
    assert (await portal.seen("/my/bill-to", by=by))["country"] == "DE"
    assert (await portal.seen("/my/invoices", by=by))["items"] == []
    assert await portal.seen("/my/invoices/preview", by=by) == []


async def test_who_comes_back_from_paying_is_told_to_wait_without_a_token(portal: Console) -> None:
    page = await portal.get("/payments/return?outcome=paid", by={})
    assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")


async def test_what_was_bought_is_paid_for_and_shown_at_the_next_read(portal: Console, services: Services) -> None:
    ana, by = await _customer(services, 5000)
    device, plan = await services.device("Pixel", owner=ana), await services.plan(price=2000)
    assert (await portal.seen("/my/balance", by=by))["balance"]["wallets"][0]["available"] == 5000
    services.bus.held.clear()
    try:
        wanted = {"planId": plan["id"], "deviceId": device["id"]}
        bought = await portal.ask("POST", "/my/orders", wanted, by=by, idempotency_key=uuid.uuid4().hex)
        assert (bought.status_code, bought.json()["state"]) == (201, "completed"), bought.text
        token = bought.headers["Fresh-After"]
        assert (await portal.seen("/my/balance", by=by, fresh_after=token))["balance"]["wallets"][0][
            "available"
        ] == 3000
        shown = await portal.seen(f"/my/orders/{bought.json()['id']}", by=by, fresh_after=token)
    finally:
        services.bus.held.set()
    assert (shown["payment"]["state"], shown["payment"]["amount"], shown["deviceName"]) == ("success", 2000, "Pixel")
    assert (shown["order"]["subscription"]["state"], shown["order"]["subscription"]["autoRenew"]) == ("active", True)
    assert all(step["says"] for step in shown["order"]["history"])
    payment = shown["payment"]["id"]
    assert [each["id"] for each in (await portal.seen("/my/payments?purpose=order", by=by))["items"]] == [payment]
    _, ben = await _customer(services)
    for path in (f"/my/orders/{shown['order']['id']}", f"/my/payments/{payment}"):
        assert (await portal.get(path, by=ben)).status_code == 404
    assert (await portal.seen("/my/payments", by=ben))["items"] == []


async def test_what_cannot_be_paid_is_refused_with_what_it_wants_and_leaves_nothing_held(
    portal: Console, services: Services
) -> None:
    ana, by = await _customer(services, 100)
    device, plan = await services.device("Pixel", owner=ana), await services.plan(price=2000)
    refused = await portal.ask("POST", "/my/orders", {"planId": plan["id"], "deviceId": device["id"]}, by=by)
    told = refused.json()
    assert (refused.status_code, told["code"], told["available"], told["needed"]) == (
        409, "insufficient-funds", 100, 2000,
    )  # fmt: skip
    order = await portal.seen(f"/my/orders/{told['orderId']}", by=by)
    assert order["order"]["state"] in ("cancelled", "failed")
    wallet = (await portal.seen("/my/balance", by=by))["balance"]["wallets"][0]
    assert (wallet["available"], wallet["held"]) == (100, 0)


async def test_what_one_owes_is_an_invoice_to_read_print_and_pay(portal: Console, services: Services) -> None:
    ana, by = await _customer(services, 5000)
    device, plan = await services.device("Pixel", owner=ana), await services.plan(price=2000)
    wanted = {"planId": plan["id"], "deviceId": device["id"]}
    assert (await portal.ask("POST", "/my/orders", wanted, by=by)).status_code == 201
    assert [each["total"] for each in await portal.seen("/my/invoices/preview", by=by)] == [2000]
    issued = (await services.ask("POST", "billing", "/v1/invoices", {"userId": ana["id"]}))[0]
    place = f"/my/invoices/{issued['id']}"
    shown = await portal.seen(place, by=by)
    assert (shown["invoice"]["total"], shown["invoice"]["due"]) == (2000, 0)
    assert sum(line["amount"] for line in shown["invoice"]["lines"]) == 2000
    printed, table = await portal.get(f"{place}/pdf", by=by), await portal.get(f"{place}/csv", by=by)
    assert printed.headers["Content-Type"] == "application/pdf" and printed.content.startswith(b"%PDF")
    assert table.headers["Content-Type"].startswith("text/csv") and "attachment" in table.headers["Content-Disposition"]
    assert (await portal.get(f"{place}/lines/1/charges", by=by)).status_code in (200, 404)
    _, ben = await _customer(services)
    for path in (place, f"{place}/pdf", f"{place}/csv", f"{place}/lines/1/charges"):
        assert (await portal.get(path, by=ben)).status_code == 404, path
    assert (await portal.ask("POST", f"{place}/pay", by=ben)).status_code == 404


async def test_a_subscription_goes_over_to_another_plan_and_ends_with_its_period(
    portal: Console, services: Services
) -> None:
    ana, by = await _customer(services, 10_000)
    device, plan, larger = (
        await services.device("Pixel", owner=ana),
        await _plan(services, 2000),
        await _plan(services, 4000),
    )
    assert (
        await portal.ask("POST", "/my/orders", {"planId": plan["id"], "deviceId": device["id"]}, by=by)
    ).status_code == 201
    subscription = (await portal.seen("/my/subscriptions?state=active", by=by))["items"][0]
    place = f"/my/subscriptions/{subscription['id']}"
    quote = await portal.seen(f"{place}/plan-change?planId={larger['id']}", by=by)
    assert 1990 <= quote["amount"] <= 2000
    services.bus.held.clear()
    try:
        changed = await portal.ask("POST", f"{place}/plan-change", {"planId": larger["id"]}, by=by)
        assert (changed.status_code, changed.json()["planId"]) == (200, larger["id"]), changed.text
        token = changed.headers["Fresh-After"]
        wallet = (await portal.seen("/my/balance", by=by, fresh_after=token))["balance"]["wallets"][0]
        assert 6000 <= wallet["available"] <= 6010
        ended = await portal.ask("POST", f"{place}/cancel", by=by)
        assert (ended.status_code, ended.json()["autoRenew"]) == (200, False)
        token = ended.headers["Fresh-After"]
        order = await portal.seen(f"/my/orders/{subscription['orderId']}", by=by, fresh_after=token)
        assert not order["order"]["subscription"]["autoRenew"]
    finally:
        services.bus.held.set()
    on = await portal.ask("PATCH", place, {"autoRenew": True}, by=by)
    assert (on.status_code, (await portal.seen(place, by=by))["autoRenew"]) == (200, True)
    assert (await portal.ask("POST", f"{place}/renew", by=by)).status_code == 409
    _, ben = await _customer(services)
    for method, path, body in (
        ("GET", place, None), ("GET", f"{place}/plan-change?planId={plan['id']}", None),
        ("POST", f"{place}/renew", None), ("PATCH", place, {"autoRenew": False}), ("POST", f"{place}/cancel", None),
        ("POST", f"{place}/plan-change", {"planId": plan["id"]}),
    ):  # fmt: skip
        assert (await portal.ask(method, path, body, by=ben)).status_code == 404, path


async def _plan(services: Services, price: int) -> dict[str, Any]:
    return await services.plan(price=price, name=f"Plan of {price}")

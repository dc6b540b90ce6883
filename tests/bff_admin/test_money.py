"""Customers' money on the console: wallets, books, rules, coupons, quotas, reports; the next read shows a write."""

import uuid
from typing import Any

import pytest

from tests.bff_admin.conftest import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def written(console: Console, method: str, path: str, body: object, status: int = 201, **more: Any) -> Any:
    answer = await console.ask(method, path, body, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_what_is_given_by_hand_stands_at_once_on_every_screen_and_in_the_books(
    console: Console, services: Services
) -> None:
    ana = await services.user("Ana")
    screen, wallet = f"/admin/users/{ana['id']}", f"/admin/users/{ana['id']}/statement"
    assert (await console.seen(screen))["balance"] is None
    services.bus.held.clear()
    try:
        asked = {"amount": 5000, "currency": "USD", "reason": "For the trouble"}
        answer = await console.ask("POST", f"{screen}/adjustments", asked)
        assert (answer.status_code, answer.json()["state"]) == (201, "applied")
        token = answer.headers["Fresh-After"]
        assert (await console.seen(screen, fresh_after=token))["balance"]["available"] == 5000
    finally:
        services.bus.held.set()
    taken = {"amount": -1500, "currency": "USD", "reason": "Not that much"}
    await written(console, "POST", f"{screen}/adjustments", taken)
    statement = await console.seen(f"{wallet}?currency=USD")
    assert [line["amount"] for line in statement["lines"]] in ([5000, -1500], [-1500, 5000])
    assert (
        statement["openingBalance"] + statement["credits"] - statement["debits"] == statement["closingBalance"] == 3500
    )
    transfer = (await console.seen(f"/admin/transfers?userId={ana['id']}"))["items"][0]
    assert sum(entry["amount"] for entry in transfer["entries"]) == 0
    assert (await console.seen(f"/admin/transfers/{transfer['id']}"))["reason"] == transfer["reason"]
    assert (await console.seen("/admin/trial-balance"))["balanced"]
    assert len((await console.seen(f"{screen}/transactions?limit=1"))["items"]) == 1


async def test_a_statement_comes_as_a_table_too(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    asked = {"amount": 4200, "currency": "EUR", "reason": "Welcome"}
    await written(console, "POST", f"/admin/users/{ana['id']}/adjustments", asked)
    table = await console.get(f"/admin/users/{ana['id']}/statement?currency=EUR&format=csv")
    assert table.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in table.headers["Content-Disposition"]
    assert "4200" in table.text or "42.00" in table.text


async def test_above_the_limit_a_second_person_decides(console: Console, services: Services) -> None:
    ana, second = await services.user("Ana"), await services.member("admin")
    asked = {"amount": 1_000_000, "currency": "USD", "reason": "A large gift"}
    waiting = await written(console, "POST", f"/admin/users/{ana['id']}/adjustments", asked, 202)
    assert waiting["id"] in [each["id"] for each in (await console.seen("/admin/adjustments?state=waiting"))["items"]]
    approve = f"/admin/adjustments/{waiting['id']}/approve"
    assert (await console.ask("POST", approve, {"reason": "by myself"})).status_code == 403
    done = await written(console, "POST", approve, {"reason": "agreed"}, 200, by=second)
    assert done["state"] == "applied"
    assert (await console.seen(f"/admin/users/{ana['id']}/balance"))["available"] == 1_000_000
    assert (await console.ask("POST", approve, {"reason": "again"}, by=second)).status_code in (200, 409)


async def test_a_rule_is_tried_made_and_revised_and_a_plan_goes_by_it(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    window = {"start": "22:00", "end": "06:00", "rate": "5"}
    fixed = {"kind": "time-based", "currency": "USD", "definition": {"rate": "12.5", "windows": [window]}}
    trial = {**fixed, "userId": ana["id"], "month": "2026-10"}
    assert (await written(console, "POST", "/admin/billing-rules/trial", trial, 200))["totals"] in ({}, {"USD": 0})
    rule = await written(console, "POST", "/admin/billing-rules", {**fixed, "name": "By the hour"})
    place = f"/admin/billing-rules/{rule['id']}"
    await written(console, "POST", f"{place}/revisions", {"definition": {"rate": "15", "windows": [window]}})
    assert (await console.seen(place))["revision"] == 2
    assert sorted(each["revision"] for each in await console.seen(f"{place}/revisions")) == [1, 2]
    await written(console, "PATCH", place, {"name": "Hourly"}, 200)
    plan = await written(console, "POST", "/admin/plans", {"name": "Metered", "price": 1000, "ruleId": rule["id"]})
    revised = await written(console, "POST", f"/admin/plans/{plan['id']}/revisions", {"price": 1200})
    assert (revised["revision"], revised["price"], revised["ruleId"]) == (2, 1200, rule["id"])
    assert len(await console.seen(f"/admin/plans/{plan['id']}/revisions")) == 2


async def test_a_coupon_is_made_found_and_ended(console: Console) -> None:
    code = f"C-{uuid.uuid4().hex[:8].upper()}"
    coupon = await written(console, "POST", "/admin/coupons", {"code": code, "percent": 20})
    assert coupon["id"] in [each["id"] for each in (await console.seen("/admin/coupons?active=true"))["items"]]
    place = f"/admin/coupons/{coupon['id']}"
    assert not (await written(console, "PATCH", place, {"active": False}, 200))["active"]
    assert not (await console.seen(place))["active"]
    assert (await console.ask("POST", "/admin/coupons", {"code": code, "percent": 20, "amount": 1})).status_code == 400


async def test_a_quota_that_was_set_stands_at_once_on_the_users_screen(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    screen = f"/admin/users/{ana['id']}"
    assert (await console.seen(screen))["quotas"][0]["source"] == "default"
    answer = await console.ask("PUT", f"{screen}/quotas/devices", {"limit": 3})
    shown = await console.seen(screen, fresh_after=answer.headers["Fresh-After"])
    assert (shown["quotas"][0]["limit"], shown["quotas"][0]["source"]) == (3, "user")
    assert (await console.ask("PUT", f"{screen}/quotas/tanks", {"limit": 3})).status_code in (400, 404)
    assert (await console.seen(f"/admin/tenants/{services.tenant_id}/quotas"))[0]["resource"] == "devices"


async def test_reports_come_as_points_and_as_tables(console: Console) -> None:
    for report in ("revenue", "usage"):
        path = f"/admin/reports/{report}?currency=USD&since=2026-01-01&until=2026-04-01&by=month"
        assert (await console.seen(path))["currency"] == "USD"
        table = await console.get(f"{path}&format=csv")
        assert table.headers["Content-Type"].startswith("text/csv")
        assert "attachment" in table.headers["Content-Disposition"] and table.text.count("\n") >= 1
    assert (await console.get("/admin/reports/revenue?colour=red")).status_code == 400


async def test_invoices_are_issued_for_what_there_is_and_taxes_by_country(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    none = await console.ask("POST", "/admin/invoices", {"userId": ana["id"]})
    assert (none.status_code, none.json()) == (200, [])
    assert await console.seen(f"/admin/users/{ana['id']}/invoice-preview") == []
    assert (await console.seen(f"/admin/invoices?userId={ana['id']}"))["items"] == []
    rate = {"country": "NZ", "name": "GST", "percent": "15", "validFrom": f"2026-0{1 + uuid.uuid4().int % 9}-01"}
    assert (await console.ask("POST", "/admin/tax-rates", rate)).status_code in (201, 409)
    assert (await console.seen("/admin/tax-rates?country=NZ"))["items"][0]["name"] == "GST"
    terms = f"/admin/tenants/{services.tenant_id}/invoice-terms"
    await written(console, "PUT", terms, {"daysToPay": 10, "seller": "Acme Clouds"}, 200)
    assert (await console.seen(terms))["daysToPay"] == 10
    bill_to = {"name": "Ana Ltd", "country": "NZ"}
    await written(console, "PUT", f"/admin/users/{ana['id']}/bill-to", bill_to, 200)
    assert (await console.seen(f"/admin/users/{ana['id']}/bill-to"))["name"] == "Ana Ltd"


async def test_another_tenants_administrator_sees_and_moves_none_of_it(console: Console, services: Services) -> None:
    ana = await services.user("Ana")
    asked = {"amount": 700, "currency": "USD", "reason": "hers"}
    await written(console, "POST", f"/admin/users/{ana['id']}/adjustments", asked)
    transfer = (await console.seen(f"/admin/transfers?userId={ana['id']}"))["items"][0]["id"]
    stranger = await services.member("admin", tenant=await services.tenant("Basalt"))
    of_ana = f"/admin/users/{ana['id']}"
    reads = [f"{of_ana}/{what}" for what in ("balance", "transactions", "statement", "statement?format=csv", "cost")]
    reads += [f"{of_ana}/{what}" for what in ("budget", "bill-to", "quotas", "invoice-preview")]
    reads += [f"/admin/transfers/{transfer}", f"/admin/tenants/{services.tenant_id}/invoice-terms"]
    reads += [f"/admin/tenants/{services.tenant_id}/quotas"]
    for path in reads:
        assert (await console.get(path, by=stranger)).status_code in (403, 404), path
    writes = [
        ("POST", f"{of_ana}/adjustments", asked), ("PUT", f"{of_ana}/budget", {"amount": 1}),
        ("PUT", f"{of_ana}/bill-to", {"name": "Me"}), ("PUT", f"{of_ana}/quotas/devices", {"limit": 0}),
        ("POST", "/admin/invoices", {"userId": ana["id"]}),
        ("PUT", f"/admin/tenants/{services.tenant_id}/invoice-terms", {"daysToPay": 0}),
    ]  # fmt: skip
    for method, path, body in writes:
        assert (await console.ask(method, path, body, by=stranger)).status_code in (403, 404), path
    for listing in ("transfers", "payments", "invoices", "refunds"):
        assert (await console.seen(f"/admin/{listing}?userId={ana['id']}", by=stranger))["items"] == [], listing
    assert (await console.seen(f"{of_ana}/balance"))["available"] == 700


async def test_an_order_is_shown_with_its_payment_and_the_time_line_that_led_to_it(
    console: Console, services: Services
) -> None:
    ana, plan = await services.user("Ana"), await services.plan(price=2000)
    given = {"amount": 5000, "currency": "USD", "reason": "Welcome"}
    await written(console, "POST", f"/admin/users/{ana['id']}/adjustments", given)
    order = await written(console, "POST", "/admin/orders", {"planId": plan["id"], "userId": ana["id"]})
    screen = f"/admin/orders/{order['id']}"
    shown = await console.seen(screen)
    assert (shown["order"]["state"], shown["payment"]["held"], shown["refunds"]) == ("provisioning", True, [])
    saga = shown["saga"]["saga"]
    assert (saga["state"], saga["step"]) == ("waiting", "ALLOCATE_DEVICE")
    assert [step["step"] for step in shown["saga"]["timeline"]][:3] == ["VALIDATE_PLAN", "CREATE_ORDER", "HOLD_PAYMENT"]
    assert saga["id"] in [each["id"] for each in (await console.seen(f"/admin/sagas?userId={ana['id']}"))["items"]]
    assert (await console.seen("/admin/sagas/totals"))["byState"]["waiting"] >= 1
    stranger = await services.member("admin", tenant=await services.tenant("Basalt"))
    for path in (f"/admin/sagas/{saga['id']}", screen, f"/admin/payments/{shown['payment']['id']}"):
        assert (await console.get(path, by=stranger)).status_code == 404, path
    turned = await console.ask("POST", f"/admin/sagas/{saga['id']}/cancel", {"reason": "by mistake"}, by=stranger)
    assert turned.status_code == 404
    turned = await console.ask("POST", f"/admin/sagas/{saga['id']}/cancel", {"reason": "by mistake"})
    assert turned.status_code == 200, turned.text
    after = await console.seen(screen, fresh_after=turned.headers["Fresh-After"])
    assert after["order"]["state"] in ("compensating", "cancelled")
    assert "back" in [step["direction"] for step in after["saga"]["timeline"]]


async def test_a_refund_is_on_the_orders_screen_and_in_the_wallet_at_the_next_read(
    console: Console, services: Services
) -> None:
    ana, plan = await services.user("Ana"), await services.plan(price=2000)
    device = await services.device("Pixel", owner=ana)
    given = {"amount": 5000, "currency": "USD", "reason": "Welcome"}
    await written(console, "POST", f"/admin/users/{ana['id']}/adjustments", given)
    wanted = {"planId": plan["id"], "userId": ana["id"], "deviceId": device["id"]}
    order = await written(console, "POST", "/admin/orders", wanted)
    screen = f"/admin/orders/{order['id']}"
    assert (await console.seen(screen))["order"]["state"] == "completed"
    stranger = await services.member("admin", tenant=await services.tenant("Basalt"))
    part = {"amount": 500, "reason": "The phone was late"}
    assert (await console.ask("POST", f"{screen}/refund", part, by=stranger)).status_code == 404
    services.bus.held.clear()
    try:
        refunded = await console.ask("POST", f"{screen}/refund", part)
        assert (refunded.status_code, refunded.json()["refunded"]) == (200, 500), refunded.text
        token = refunded.headers["Fresh-After"]
        shown = await console.seen(screen, fresh_after=token)
        assert ([each["amount"] for each in shown["refunds"]], shown["order"]["state"]) == ([500], "completed")
        assert (await console.seen(f"/admin/users/{ana['id']}", fresh_after=token))["balance"]["available"] == 3500
    finally:
        services.bus.held.set()
    assert (await console.ask("POST", f"{screen}/refund", {"amount": 1501})).status_code == 409
    assert (await console.seen(f"/admin/subscriptions?userId={ana['id']}"))["items"][0]["state"] == "active"
    assert (await console.seen(f"/admin/refunds?orderId={order['id']}"))["items"][0]["state"] == "success"

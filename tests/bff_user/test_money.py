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

"""What was bought and used is on exactly one invoice, to the cent; what was issued stays."""

from datetime import timedelta

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper, sums

pytestmark = pytest.mark.anyio


async def test_an_order_is_on_one_invoice_with_its_tax_its_coupon_and_what_went_back(world: World) -> None:
    ana = Shopper(world)
    rate = {"country": "XC", "name": "VAT", "percent": "19", "validFrom": "2026-01-01"}
    await world.ok("POST", "/v1/tax-rates", world.admin, rate)
    bill_to = {"name": "Ana Müller", "country": "XC", "address": "Weg 1"}
    await world.ok("PUT", f"/v1/users/{ana.id}/bill-to", ana.headers, bill_to)
    code = f"C{uuid7().hex[:10].upper()}"
    await world.ok("POST", "/v1/coupons", world.admin, {"code": code, "percent": 10})
    first, second = await ana.buy(1999, coupon=code), await ana.buy(500)
    await ana.refund(first, 300)
    world.now += timedelta(seconds=1)
    preview = (await world.ok("GET", f"/v1/users/{ana.id}/invoice-preview", ana.headers))["data"]
    [invoice] = await ana.issue()
    assert preview[0]["lines"] == invoice["lines"] and preview[0]["due"] == 0
    assert [line["kind"] for line in invoice["lines"]] == ["plan", "discount", "credit", "plan"]
    assert sums(invoice["lines"]) == invoice["total"] == invoice["paid"] == 1999 - 200 - 300 + 500
    assert {line["orderId"] for line in invoice["lines"]} == {str(first), str(second)}
    assert (invoice["state"], invoice["due"], invoice["billTo"]["name"]) == ("paid", 0, "Ana Müller")
    [tax] = invoice["taxes"]
    assert (tax["name"], tax["percent"], tax["net"] + tax["tax"]) == ("VAT", "19.000", invoice["total"])
    taxed = "SELECT sum(e.amount) FROM billing.entries e JOIN billing.transfers t ON t.id = e.transfer_id"
    of_ana = "JOIN billing.accounts a ON a.id = e.account_id WHERE a.kind = 'tax' AND t.user_id = :user"
    assert (await world.rows(f"{taxed} {of_ana}", user=ana.id))[0][0] == invoice["tax"]
    assert await ana.issue() == []
    assert await ana.invoices() == [{key: invoice[key] for key in (await ana.invoices())[0]}]

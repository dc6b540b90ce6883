"""What becomes of an invoice: paid, overdue, frozen for, credited; and that nothing else can happen to it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cloudphone_core.billing.invoices.rounds import (
    credit_refunds,
    freeze_for_overdue,
    settle_from_wallets,
    warn_of_overdue,
)
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper, sums

pytestmark = pytest.mark.anyio


async def used(world: World, *, hours: int = 10, rate: int = 60) -> tuple[Shopper, dict[str, Any]]:
    """A customer with an empty wallet, and an invoice of `hours` × `rate` that is open."""
    shopper, device = Shopper(world), world.owners.device(world.acme)
    await shopper.subscribe(device.id, rate=rate)
    await shopper.run(device.id, 1, 1 + hours)
    world.now += timedelta(hours=2 + hours)
    [invoice] = await shopper.issue()
    assert (invoice["state"], invoice["due"]) == ("open", hours * rate)
    return shopper, invoice


async def owes(world: World, shopper: Shopper) -> str | None:
    found = (await world.ok("GET", f"/v1/users/{shopper.id}/arrears", world.admin))["data"]
    return found and found["reason"]


async def test_what_is_due_is_taken_from_the_wallet_as_it_comes_to_money(world: World) -> None:
    ana, invoice = await used(world)
    path = f"/v1/invoices/{invoice['id']}"
    short = await world.client.post(f"{path}/pay", headers=ana.headers)
    assert (short.status_code, short.json()["code"], short.json()["needed"]) == (409, "insufficient-funds", 600)
    await ana.recharge(250)
    assert await settle_from_wallets(world.database, world.now) == 1
    assert await settle_from_wallets(world.database, world.now) == 0
    seen = await ana.invoice(invoice["id"])
    assert (seen["state"], seen["paid"], seen["due"]) == ("open", 250, 350)
    assert (await ana.available(), await ana.owed()) == (0, 350)
    await ana.recharge(1000)
    paid = (await world.ok("POST", f"{path}/pay", ana.headers))["data"]
    assert (paid["state"], paid["due"], paid["version"] > seen["version"]) == ("paid", 0, True)
    assert (await ana.available(), await ana.owed()) == (650, 0)
    again = await world.client.post(f"{path}/pay", headers=ana.headers)
    assert (again.status_code, again.json()["code"]) == (409, "state-conflict")


async def test_overdue_warns_then_freezes_and_payment_releases_what_it_froze(world: World) -> None:
    ana, invoice = await used(world)
    bob, other = await used(world)
    assert await warn_of_overdue(world.database, world.now) == 0
    world.now += timedelta(days=14)
    assert await warn_of_overdue(world.database, world.now) == 2
    assert (await ana.invoice(invoice["id"]))["state"] == "overdue"
    assert await freeze_for_overdue(world.database, world.now) == 0 and await owes(world, ana) is None
    world.now += timedelta(days=7)
    await world.ok("PUT", f"/v1/users/{bob.id}/arrears", world.admin, {"reason": "by hand"})
    assert await freeze_for_overdue(world.database, world.now) == 2
    assert await freeze_for_overdue(world.database, world.now) == 0
    assert invoice["number"] in (await owes(world, ana) or "") and await owes(world, bob) == "by hand"
    for shopper in (ana, bob):
        await shopper.recharge(600)
    assert await settle_from_wallets(world.database, world.now) == 2
    assert await owes(world, ana) is None and await owes(world, bob) == "by hand"
    assert (await bob.invoice(other["id"]))["state"] == "paid"


async def test_usage_is_credited_by_notes_never_beyond_what_is_left(world: World) -> None:
    ana, invoice = await used(world)
    notes = f"/v1/invoices/{invoice['id']}/credit-notes"
    await ana.recharge(500)
    await settle_from_wallets(world.database, world.now)
    line = next(line["number"] for line in invoice["lines"] if line["amount"])
    part = {"reason": "an outage", "lines": [{"number": line, "amount": 350}]}
    note = (await world.ok("POST", notes, world.admin, part))["data"]
    assert (note["kind"], note["total"], note["corrects"]) == ("credit-note", -350, invoice["id"])
    assert note["number"] == "CN-2026-000001" and note["due"] == 0
    seen = await ana.invoice(invoice["id"])
    assert (seen["credited"], seen["paid"], seen["due"], seen["state"]) == (350, 250, 0, "paid")
    assert (await ana.available(), await ana.owed()) == (250, 0)
    beyond = {"reason": "more", "lines": [{"number": line, "amount": 251}]}
    assert (await world.client.post(notes, headers=world.admin, json=beyond)).status_code == 409
    for wrong in ([{"number": 99, "amount": 1}], [{"number": line, "amount": 1}] * 2):
        answer = await world.client.post(notes, headers=world.admin, json={"reason": "x", "lines": wrong})
        assert answer.status_code == 400
    rest = (await world.ok("POST", notes, world.admin, {"reason": "all of it"}))["data"]
    assert rest["total"] == -250 and (await ana.invoice(invoice["id"]))["state"] == "credited"
    assert await ana.available() == 500
    for path in (notes, f"/v1/invoices/{note['id']}/credit-notes"):
        assert (await world.client.post(path, headers=world.admin, json={"reason": "again"})).status_code == 409


async def test_a_refund_after_the_invoice_becomes_a_credit_note_by_itself(world: World) -> None:
    ana = Shopper(world)
    order = await ana.buy(2000)
    [invoice] = await ana.issue()
    refused = {"reason": "no", "lines": [{"number": 1, "amount": 5}]}
    path = f"/v1/invoices/{invoice['id']}/credit-notes"
    assert (await world.client.post(path, headers=world.admin, json=refused)).status_code == 400
    for amount, state in ((700, "paid"), (1300, "credited")):
        await ana.refund(order, amount)
        assert await credit_refunds(world.database, world.now) == 1
        seen = await ana.invoice(invoice["id"])
        assert (seen["state"], seen["due"]) == (state, 0)
    assert await credit_refunds(world.database, world.now) == 0
    totals = [one["total"] for one in await ana.invoices()]
    assert sorted(totals) == [-1300, -700, 2000] and await ana.available() == 2000
    assert await ana.issue() == []


FORGED = {
    "a line is changed": "UPDATE billing.invoice_lines SET amount = 1 WHERE invoice_id = :id",
    "a line is taken away": "DELETE FROM billing.invoice_lines WHERE invoice_id = :id",
    "a line is added": """
        INSERT INTO billing.invoice_lines (invoice_id, number, kind, description, quantity, unit, amount, tax_percent,
            tax) VALUES (:id, 9, 'usage', 'x', 1, 'h', 0, 0, 0)""",
    "the sum is changed": "UPDATE billing.invoices SET total = total + 1 WHERE id = :id",
    "the number is changed": "UPDATE billing.invoices SET sequence = 99 WHERE id = :id",
    "the bill-to is changed": "UPDATE billing.invoices SET bill_to = '{}' WHERE id = :id",
    "it is deleted": "DELETE FROM billing.invoices WHERE id = :id",
    "more is paid than is due": "UPDATE billing.invoices SET paid = total + 1 WHERE id = :id",
    "it is called paid": "UPDATE billing.invoices SET state = 'paid' WHERE id = :id",
    "it is credited without a note": """
        UPDATE billing.invoices SET credited = total, state = 'credited' WHERE id = :id""",
    "a number is skipped": "UPDATE billing.invoice_numbers SET last = last + 2",
    "a number is taken for nothing": "UPDATE billing.invoice_numbers SET last = last + 1",
    "counting begins anew": "DELETE FROM billing.invoice_numbers",
    "its charges are let go": "UPDATE billing.charges SET invoice_id = NULL, line_number = NULL WHERE invoice_id = :id",
}


async def test_the_database_refuses_to_change_what_was_issued(world: World) -> None:
    ana, invoice = await used(world)
    for what, statement in FORGED.items():
        with pytest.raises(DBAPIError):
            async with world.database.writing() as session:
                await session.execute(text(statement), {"id": invoice["id"]} if ":id" in statement else {})
            pytest.fail(what)
    assert await ana.invoice(invoice["id"]) == {**invoice, "lines": invoice["lines"]}


async def test_an_invoice_is_its_customers_and_their_tenants(world: World) -> None:
    ana, invoice = await used(world)
    assert sums(invoice["lines"]) == 600
    strangers = [Shopper(world).headers, world.staff(world.rival)]
    path = f"/v1/invoices/{invoice['id']}"
    for number in (0, 99, 10**40):
        beyond = await world.client.get(f"{path}/lines/{number}/charges", headers=ana.headers)
        assert beyond.status_code == 404
    for stranger in strangers:
        for place in (path, f"{path}/pdf", f"{path}/csv", f"{path}/lines/1/charges"):
            assert (await world.client.get(place, headers=stranger)).status_code == 404, place
        assert (await world.ok("GET", "/v1/invoices", stranger))["data"]["items"] == []
        for place in (f"/v1/users/{ana.id}/bill-to", f"/v1/users/{ana.id}/invoice-preview"):
            assert (await world.client.get(place, headers=stranger)).status_code == 404, place
        refused = await world.client.post(f"{path}/pay", headers=stranger)
        assert refused.status_code in (403, 404)
        named = await world.client.put(f"/v1/users/{ana.id}/bill-to", headers=stranger, json={"name": "Eve"})
        assert named.status_code in (403, 404)
    foreign = world.staff(world.rival)
    assert (await world.client.post(f"{path}/credit-notes", headers=foreign, json={"reason": "x"})).status_code == 404
    body = {"userId": str(ana.id)}
    assert (await world.client.post("/v1/invoices", headers=foreign, json=body)).status_code == 404
    assert (await world.client.post("/v1/invoices", headers=ana.headers, json=body)).status_code == 403
    terms = f"/v1/tenants/{world.acme}/invoice-terms"
    assert (await world.client.get(terms, headers=foreign)).status_code == 404
    assert (await world.client.put(terms, headers=foreign, json={"daysToPay": 0})).status_code == 404
    rate = {"country": "XZ", "name": "Tax", "percent": "1", "validFrom": "2026-01-01"}
    assert (await world.client.post("/v1/tax-rates", headers=foreign, json=rate)).status_code == 403


async def test_a_rate_of_tax_is_a_share_and_never_begins_in_the_past_of_one_that_is_known(world: World) -> None:
    async def answer(percent: str, valid_from: str) -> int:
        body = {"country": "XR", "name": "VAT", "percent": percent, "validFrom": valid_from}
        return (await world.client.post("/v1/tax-rates", headers=world.admin, json=body)).status_code

    for wrong in ("-1", "100.001", "7.0001", "NaN", "Infinity", "1e-9"):
        assert await answer(wrong, "2026-01-01") == 400, wrong
    assert await answer("7", "2021-01-01") == 201
    for day, status in (("2020-01-01", 409), ("2026-03-01", 409), ("2026-03-15", 201), ("2026-03-15", 409)):
        assert await answer("19", day) == status, day
    listed = (await world.ok("GET", "/v1/tax-rates?country=XR", world.as_ana))["data"]["items"]
    assert [(rate["percent"], rate["validFrom"]) for rate in listed] == [
        ("19.000", "2026-03-15"),
        ("7.000", "2021-01-01"),
    ]


async def test_a_tenants_terms_are_on_its_next_invoices_and_not_on_those_before(world: World) -> None:
    path = f"/v1/tenants/{world.acme}/invoice-terms"
    assert (await world.ok("GET", path, world.admin))["data"]["daysToPay"] == 14
    _, before = await used(world)
    changed = {"daysToPay": 3, "daysToFreeze": 0, "seller": "Acme GmbH", "sellerCountry": "DE"}
    assert (await world.ok("PUT", path, world.staff(world.acme), changed))["data"]["seller"] == "Acme GmbH"
    ana, after = await used(world)
    due = datetime.fromisoformat(after["dueAt"]) - datetime.fromisoformat(after["issuedAt"])
    assert due == timedelta(days=3) and before["dueAt"] > after["dueAt"]
    sellers = await world.rows("SELECT seller ->> 'name' FROM billing.invoices WHERE tenant_id = :t", t=world.acme)
    assert sorted(row[0] for row in sellers) == ["Acme GmbH", "Cloudphone"]
    bad = await world.client.put(path, headers=world.admin, json={"sellerTaxNumber": "a\u0000"})
    assert bad.status_code == 400 and await ana.owed() == 600

"""Wallets, their statements, the books, and money given by hand, over HTTP."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.test_transfers import Ledger
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def ledger(world: World) -> Ledger:
    return Ledger(world, user_id=world.ana.id)


def staff(world: World) -> Mapping[str, str]:
    """An administrator of Acme, another one each time."""
    return world.staff(world.acme)


async def test_there_is_no_balance_before_the_first_transfer(world: World, ledger: Ledger) -> None:
    path = f"/v1/users/{world.ana.id}/balance"
    entity = f"balance:{world.ana.id}"
    assert await world.ok("GET", path, world.bff) == {"data": None, "entities": {entity: 0}}
    await ledger.transfer(700)
    await ledger.hold(20)
    world.now += timedelta(seconds=1)
    await ledger.transfer(5, currency="EUR")
    read = await world.ok("GET", path, world.as_ana)
    shown = read["data"]
    assert (shown["available"], shown["held"], shown["currency"]) == (680, 20, "USD")
    assert [(other["currency"], other["available"]) for other in shown["others"]] == [("EUR", 5)]
    assert read["entities"] == {entity: 10**12 + 3}
    nobody = uuid7()
    several = await world.ok("GET", f"/v1/users/balances?ids={world.ana.id},{nobody}", world.bff)
    assert several["data"]["found"][str(world.ana.id)] == read
    assert several["data"]["found"][str(nobody)]["data"] is None


async def test_a_statement_begins_where_the_one_before_ended(world: World, ledger: Ledger) -> None:
    noon = world.now
    for day, amount in enumerate((1000, -300, 50, -100, 7)):
        world.now = noon + timedelta(days=day)
        await ledger.transfer(amount)
    await ledger.hold(1)
    path = f"/v1/users/{world.ana.id}"

    async def statement(since: str, until: str, more: str = "") -> dict[str, Any]:
        query = f"currency=USD&since={since}&until={until}{more}"
        return (await world.ok("GET", f"{path}/statement?{query}", world.as_ana))["data"]

    first = await statement("2026-03-01", "2026-03-17")
    assert (first["openingBalance"], first["credits"], first["debits"], first["closingBalance"]) == (0, 1000, 300, 700)
    second = await statement("2026-03-17", "2026-03-20")
    assert (second["openingBalance"], second["closingBalance"]) == (700, 657)
    assert [line["balanceAfter"] for line in second["lines"]] == [750, 650, 657]
    page = await statement("2026-03-17", "2026-03-20", "&limit=2")
    rest = await statement("2026-03-17", "2026-03-20", f"&limit=2&cursor={page['nextCursor']}")
    assert [*page["lines"], *rest["lines"]] == second["lines"]
    assert (await statement("2026-04-01", "2026-04-02"))["openingBalance"] == 657

    table = await world.client.get(f"{path}/statement?since=2026-03-17&format=csv", headers=world.as_ana)
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert [line.split(",")[2:5] for line in table.text.splitlines()[1:]] == [
        ["50", "USD", "750"], ["-100", "USD", "650"], ["7", "USD", "657"],
    ]  # fmt: skip
    refused = await world.client.get(f"{path}/statement?since=2026-03-02&until=2026-03-01", headers=world.as_ana)
    assert refused.status_code == 400


async def test_transactions_are_the_newest_first_what_is_held_among_them(world: World, ledger: Ledger) -> None:
    for amount in (100, -10, -20):
        await ledger.transfer(amount)
    await ledger.hold(5)
    path = f"/v1/users/{world.ana.id}/transactions"
    seen, cursor = [], ""
    while cursor is not None:
        page = (await world.ok("GET", f"{path}?limit=3{cursor}", world.as_ana))["data"]
        seen += [(one["amount"], one["state"], one.get("balanceAfter")) for one in page["items"]]
        cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert seen == [(-5, "pending", None), (-20, "posted", 70), (-10, "posted", 90), (100, "posted", 100)]
    recharges = (await world.ok("GET", f"{path}?kind=recharge&currency=USD", world.as_ana))["data"]["items"]
    assert [one["amount"] for one in recharges] == [100]
    assert (await world.ok("GET", f"{path}?currency=EUR", world.as_ana))["data"]["items"] == []


async def test_staff_read_transfers_and_the_books_of_their_tenant(world: World, ledger: Ledger) -> None:
    row = await ledger.transfer(100)
    other = Ledger(world, tenant_id=world.rival)
    await other.transfer(40)
    found = (await world.ok("GET", f"/v1/transfers?userId={world.ana.id}", staff(world)))["data"]["items"]
    assert [one["id"] for one in found] == [str(row.id)]
    assert [(entry["kind"], entry["amount"]) for entry in found[0]["entries"]] == [
        ("wallet", 100), ("revenue", -80), ("tax", -20),
    ]  # fmt: skip
    path = f"/v1/transfers/{row.id}"
    assert (await world.ok("GET", path, staff(world)))["data"] == found[0]
    assert (await world.client.get(path, headers=world.staff(world.rival))).status_code == 404
    assert (await world.client.get(path, headers=world.as_ana)).status_code == 403

    later = (world.now + timedelta(seconds=1)).isoformat().replace("+", "%2B")
    books = (await world.ok("GET", f"/v1/trial-balance?until={later}", staff(world)))["data"]
    assert books["balanced"] is True
    assert {line["kind"]: line["balance"] for line in books["lines"]} == {"wallet": 100, "revenue": -80, "tax": -20}
    earlier = (await world.ok("GET", "/v1/trial-balance?until=2026-01-01T00:00:00Z", staff(world)))["data"]
    assert earlier["lines"] == []


async def test_a_small_adjustment_is_applied_at_once_and_once(world: World) -> None:
    path = f"/v1/users/{world.ana.id}/adjustments"
    key = {**staff(world), "Idempotency-Key": str(uuid7())}
    gift = {"amount": 500, "currency": "USD", "reason": "sorry"}
    applied = [await world.client.post(path, headers=key, json=gift) for _ in range(2)]
    assert [answer.status_code for answer in applied] == [201, 201]
    assert applied[0].json()["data"]["state"] == "applied"
    assert f"balance:{world.ana.id}" in applied[0].json()["entities"]
    taken = await world.client.post(path, headers=staff(world), json={**gift, "amount": -501})
    assert (taken.status_code, problem(taken)["code"]) == (409, "insufficient-funds")
    assert (problem(taken)["available"], problem(taken)["needed"]) == (500, 501)
    await world.ok("POST", path, staff(world), {**gift, "amount": -499})
    assert (await world.ok("GET", f"/v1/users/{world.ana.id}/balance", world.bff))["data"]["available"] == 1
    for senseless in ({"amount": 0}, {"amount": 1.5}, {"amount": 10**16}, {"currency": "usd"}, {"reason": ""}):
        refused = await world.client.post(path, headers=staff(world), json={**gift, **senseless})
        assert refused.status_code == 400, senseless


async def test_a_large_adjustment_waits_for_another_person_and_is_applied_once(world: World) -> None:
    path = f"/v1/users/{world.ana.id}/adjustments"
    asker, first, second = staff(world), staff(world), staff(world)
    asked = await world.client.post(path, headers=asker, json={"amount": 10_001, "currency": "USD", "reason": "big"})
    assert (asked.status_code, asked.json()["data"]["state"]) == (202, "waiting")
    place = f"/v1/adjustments/{asked.json()['data']['id']}"
    assert (await world.client.post(f"{place}/approve", headers=asker, json={})).status_code == 403
    assert (await world.client.post(f"{place}/approve", headers=world.staff(world.rival), json={})).status_code == 404
    assert (await world.client.post(f"{place}/approve", headers=world.as_ana, json={})).status_code == 403
    waiting = (await world.ok("GET", "/v1/adjustments?state=waiting", first))["data"]["items"]
    assert [one["amount"] for one in waiting] == [10_001]
    decided = await asyncio.gather(
        *(world.client.post(f"{place}/approve", headers=who, json={}) for who in (first, second))
    )
    assert sorted(answer.status_code for answer in decided) == [200, 409]
    assert (await world.client.post(f"{place}/reject", headers=first, json={})).status_code == 409
    assert (await world.ok("GET", f"/v1/users/{world.ana.id}/balance", world.bff))["data"]["available"] == 10_001


async def test_neither_small_pieces_nor_the_own_wallet_go_round_the_second_person(world: World) -> None:
    path = f"/v1/users/{world.ana.id}/adjustments"
    asker = staff(world)
    piece = {"amount": 4000, "currency": "USD", "reason": "again"}
    answers = await asyncio.gather(*(world.client.post(path, headers=asker, json=piece) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 202, 202]
    world.now += timedelta(hours=25)
    assert (await world.client.post(path, headers=asker, json=piece)).status_code == 201

    boss = world.owners.user(world.acme, name="Boss", role="admin")
    himself = world.signer.headers(role="admin", id=boss.id, tenant=world.acme, scope="tenant")
    own = f"/v1/users/{boss.id}/adjustments"
    assert (await world.client.post(own, headers=himself, json={**piece, "amount": 1})).status_code == 202
    asked = await world.client.post(own, headers=staff(world), json={**piece, "amount": 20_000})
    approving = f"/v1/adjustments/{asked.json()['data']['id']}/approve"
    assert (await world.client.post(approving, headers=himself, json={})).status_code == 403
    rejected = await world.ok("POST", approving.replace("approve", "reject"), staff(world), {"reason": "too much"})
    assert (rejected["data"]["state"], rejected["data"]["decision"]) == ("rejected", "too much")


async def test_what_is_booked_late_never_goes_before_what_stands(world: World, ledger: Ledger) -> None:
    """A clock that runs behind would tear a statement apart."""
    await ledger.transfer(100)
    world.now -= timedelta(days=3)
    row = await ledger.transfer(1)
    assert row.settled_at == datetime(2026, 3, 15, 12, tzinfo=UTC)

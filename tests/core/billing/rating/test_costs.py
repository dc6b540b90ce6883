"""What usage costs so far, budgets that are told of once each, and wallets that run low."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.rating.rounds import check_budgets, tell_low_balances
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.rating.conftest import Rated

pytestmark = pytest.mark.anyio


async def cost(world: World, user_id: UUID | None = None) -> dict[str, Any]:
    return (await world.ok("GET", f"/v1/users/{user_id or world.ana.id}/cost", world.as_ana))["data"]


async def told(world: World, kind: str, user_id: UUID) -> list[Any]:
    rows = await world.rows(
        "SELECT payload FROM billing.outbox WHERE type = :kind AND payload ->> 'userId' = :user ORDER BY id",
        kind=kind, user=str(user_id),
    )  # fmt: skip
    return [row.payload for row in rows]


async def test_cost_so_far_holds_what_ended_and_what_runs_now(rated: Rated) -> None:
    world, phone, other = rated.world, uuid7(), uuid7()
    rule = await rated.hourly(100)
    await rated.subscribe(phone, rule_id=rule["id"], since=-72, hours=2)
    await rated.subscribe(other, rule_id=rule["id"], since=-72)
    await world.run(phone, world.ana.id, -50, -47)
    await world.run(other, world.ana.id, -0.5, None)
    await rated.rate()
    await world.run(phone, world.ana.id, -1, None)
    seen = await cost(world)
    assert seen["totals"] == {"USD": 100 + 100 + 50}
    assert [(one["seconds"], one["includedSeconds"], one["amount"]) for one in seen["devices"]] == [
        (4 * 3600, 2 * 3600, 200), (1800, 0, 50),
    ]  # fmt: skip
    world.now += timedelta(hours=2)
    later = await cost(world)
    assert (later["totals"], later["asOf"]) == ({"USD": 250 + 400}, world.now.isoformat().replace("+00:00", "Z"))


async def test_only_this_months_part_of_a_long_run_is_shown(rated: Rated) -> None:
    world, phone = rated.world, uuid7()
    rule = await rated.hourly(1)
    await rated.subscribe(phone, rule_id=rule["id"], since=-24 * 20, days=60)
    await world.run(phone, world.ana.id, -24 * 19, None)
    assert (await cost(world))["totals"] == {"USD": 14 * 24 + 12}
    nobodys = world.owners.device(world.acme).id
    await world.run(nobodys, world.ana.id, -2, None)
    assert (await cost(world))["unsubscribedSeconds"] == 7200


async def test_a_cost_is_two_statements(rated: Rated, monkeypatch: pytest.MonkeyPatch) -> None:
    world, asked = rated.world, list[object]()
    rows = world.database.rows

    async def counted(statement: Any, **parameters: object) -> Any:
        asked.append(statement)
        return await rows(statement, **parameters)

    monkeypatch.setattr(world.database, "rows", counted)
    await cost(world)
    assert len(asked) == 2


async def test_each_mark_of_a_budget_is_told_once_a_month(rated: Rated) -> None:
    world, phone = rated.world, uuid7()
    rule = await rated.hourly(100)
    await rated.subscribe(phone, rule_id=rule["id"], since=-72)
    place = f"/v1/users/{world.ana.id}/budget"
    await world.ok("PUT", place, world.as_ana, {"amount": 1000, "warnPercent": 70})
    await world.run(phone, world.ana.id, -6, None)
    marks: list[list[int]] = []
    for hours in (0, 1, 1, 2, 1):
        world.now += timedelta(hours=hours)
        while await check_budgets(world.database, world.now):
            pass
        marks.append([event["percent"] for event in await told(world, "budget.reached", world.ana.id)])
    assert marks == [[], [70], [70], [70, 100], [70, 100]]
    budget = (await world.ok("GET", place, world.as_ana))["data"]
    assert budget["warnedAt"] < budget["exceededAt"]
    assert (await cost(world))["budget"] == budget
    world.now = (world.now + timedelta(days=31)).replace(day=1, hour=1)
    assert (await world.ok("GET", place, world.as_ana))["data"]["warnedAt"] is None


async def test_what_is_rated_is_held_against_the_budget_at_once(rated: Rated) -> None:
    world, phone = rated.world, uuid7()
    rule = await rated.hourly(100)
    await rated.subscribe(phone, rule_id=rule["id"], since=-72)
    await world.ok("PUT", f"/v1/users/{world.ana.id}/budget", world.as_ana, {"amount": 100})
    while await check_budgets(world.database, world.now):
        pass
    await world.run(phone, world.ana.id, -6, -1)
    await rated.rate()
    while await check_budgets(world.database, world.now):
        pass
    assert [(one["percent"], one["spent"]) for one in await told(world, "budget.reached", world.ana.id)] == [
        (80, 500), (100, 500),
    ]  # fmt: skip


async def test_a_low_wallet_is_told_once_until_it_was_above_again(rated: Rated) -> None:
    world = rated.world
    wallet = transfers.wallet(world.acme, world.ana.id, "USD")
    till = transfers.of_tenant(world.acme, "clearing", "USD")

    async def move(amount: int) -> int:
        async with world.database.writing() as session:
            await transfers.transfer(
                session, key=f"adjustment:{uuid7()}", kind="adjustment", reason="test", reference=None, actor="test",
                postings=[transfers.Posting(wallet, amount), transfers.Posting(till, -amount)], at=world.now,
            )  # fmt: skip
        while await tell_low_balances(world.database, world.now):
            pass
        return len(await told(world, "balance.low", world.ana.id))

    await world.ok("PUT", f"/v1/users/{world.ana.id}/budget", world.as_ana, {"lowBalance": 500})
    assert [await move(amount) for amount in (1000, -400, -200, -100, 700, -900)] == [0, 0, 1, 1, 1, 2]
    [first, _] = await told(world, "balance.low", world.ana.id)
    assert (first["available"], first["threshold"], first["currency"]) == (400, 500, "USD")


async def test_a_budget_that_makes_no_sense_is_refused(rated: Rated) -> None:
    place = f"/v1/users/{rated.world.ana.id}/budget"
    for budget in (
        {"amount": 0}, {"amount": -5}, {"amount": 1.5}, {"amount": 10**13}, {"warnPercent": 101}, {"lowBalance": -1},
        {"currency": "usd"}, {"spent": 0},
    ):  # fmt: skip
        answer = await rated.world.client.request("PUT", place, headers=rated.world.as_ana, json=budget)
        assert answer.status_code == 400, (budget, answer.text)


async def test_costs_and_budgets_are_their_users_and_their_tenants(rated: Rated) -> None:
    world = rated.world
    stranger = world.customer(world.owners.user(world.rival).id, world.rival)
    for who in (stranger, world.staff(world.rival)):
        for method, path, body in (
            ("GET", "cost", None), ("GET", "budget", None), ("PUT", "budget", {"amount": 5}),
        ):  # fmt: skip
            answer = await world.client.request(method, f"/v1/users/{world.ana.id}/{path}", headers=who, json=body)
            assert answer.status_code in (403, 404), (path, answer.text)
    assert await world.ok("GET", f"/v1/users/{world.ana.id}/budget", world.as_ana) is not None

"""Subscriptions: renewed once a period whoever tries, graceful to who cannot pay, ended for good."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from cloudphone_core.billing.orders.quota_releases import release_quotas
from cloudphone_core.billing.orders.renewals import end_overdue, renew_due
from tests.core.billing.conftest import World
from tests.core.billing.customers import available, bought, fund, shown
from tests.core.owners import problem

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


async def test_a_completed_order_begins_a_subscription_and_tells_its_history(world: World) -> None:
    await fund(world, world.ana, 5000)
    order = await bought(world, world.ana, await world.plan(name="Pro", price=1999))
    lasts = order["subscription"]
    assert (lasts["state"], lasts["autoRenew"], lasts["deviceId"]) == ("active", True, order["deviceId"])
    assert datetime.fromisoformat(lasts["periodEnd"]) == world.now + 30 * DAY
    assert await available(world, world.ana) == 3001
    assert [event["says"] for event in order["history"]] == [
        "Pro was ordered for 19.99 USD.",
        "We began to prepare it.",
        "A device was found for it.",
        "It was paid.",
        "It is complete and lasts until 14 April 2026, 12:00 UTC.",
    ]
    page = await world.ok("GET", f"/v1/subscriptions?state=active&userId={world.ana.id}", world.as_ana)
    assert page["data"]["items"] == [lasts]
    assert page["entities"][f"order:{order['id']}"] == lasts["version"]


async def test_a_period_is_renewed_once_though_many_try(world: World) -> None:
    await fund(world, world.ana, 10_000)
    plan = await world.plan(price=1000)
    order = await bought(world, world.ana, plan)
    await world.ok("POST", f"/v1/plans/{plan['id']}/revisions", world.admin, {"price": 1500})
    await world.open_connections()
    world.now += 30 * DAY
    await asyncio.gather(*(renew_due(world.database, world.now) for _ in range(6)))
    renewed = (await shown(world, order["id"]))["subscription"]
    assert datetime.fromisoformat(renewed["periodEnd"]) == world.now + 30 * DAY
    assert (renewed["planRevision"], await available(world, world.ana)) == (2, 7500)
    orders = (await world.ok("GET", f"/v1/users/{world.ana.id}/orders", world.as_ana))["data"]
    [renewal] = [await shown(world, one["id"]) for one in orders if one["id"] != order["id"]]
    assert (renewal["kind"], renewal["state"], renewal["amount"]) == ("renewal", "completed", 1500)
    assert renewal["parentId"] == order["id"]
    world.now -= 10 * DAY
    await renew_due(world.database, world.now)
    assert await available(world, world.ana) == 7500


async def test_a_leap_of_the_clock_costs_one_period(world: World) -> None:
    await fund(world, world.ana, 10_000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    world.now += 400 * DAY
    for _ in range(3):
        await renew_due(world.database, world.now)
    assert await available(world, world.ana) == 8000
    assert datetime.fromisoformat((await shown(world, order["id"]))["subscription"]["periodEnd"]) > world.now


async def test_who_cannot_pay_has_grace_and_is_renewed_when_the_balance_rises(world: World) -> None:
    await fund(world, world.ana, 1500)
    order = await bought(world, world.ana, await world.plan(price=1000))
    world.now += 30 * DAY
    await renew_due(world.database, world.now)
    waits = (await shown(world, order["id"]))["subscription"]
    assert waits["state"] == "grace"
    assert datetime.fromisoformat(waits["graceUntil"]) == world.now + 3 * DAY
    told = await world.rows(
        "SELECT payload FROM billing.outbox WHERE type = 'subscription.changed' AND payload ->> 'orderId' = :order",
        order=order["id"],
    )
    assert [(one.payload["state"], one.payload["reason"]) for one in told] == [
        ("active", "begun"), ("grace", "the renewal was not paid"),
    ]  # fmt: skip
    await fund(world, world.ana, 500)
    world.now += timedelta(minutes=1)
    await renew_due(world.database, world.now)
    paid = (await shown(world, order["id"]))["subscription"]
    assert (paid["state"], paid["graceUntil"], await available(world, world.ana)) == ("active", None, 0)
    assert paid["periodStart"] == waits["periodEnd"]


async def test_what_nobody_pays_ends_and_gives_the_device_and_the_quota_back(world: World) -> None:
    await fund(world, world.ana, 1000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    world.now += 30 * DAY
    await renew_due(world.database, world.now)
    world.now += 3 * DAY
    await asyncio.gather(*(end_overdue(world.database, world.now) for _ in range(3)))
    ended = (await shown(world, order["id"]))["subscription"]
    assert (ended["state"], ended["endReason"]) == ("ended", "the renewal was not paid")
    assert await _released(world, order) == 1
    world.owners.away = {"user"}
    assert await release_quotas(world.database, world.owners.clients(world.signer, "billing"), world.now) == 0
    assert await _reservations(world, order) == 1
    world.owners.away = set()
    world.now += timedelta(hours=1)
    assert await release_quotas(world.database, world.owners.clients(world.signer, "billing"), world.now) >= 1
    assert await _reservations(world, order) == 0


async def test_a_cancelled_subscription_lasts_until_its_period_ends(world: World) -> None:
    await fund(world, world.ana, 5000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    path = f"/v1/subscriptions/{order['subscription']['id']}"
    assert (await world.ok("POST", f"{path}/cancel", world.as_ana))["data"]["autoRenew"] is False
    assert (await world.ok("PATCH", path, world.as_ana, {"autoRenew": True}))["data"]["autoRenew"] is True
    assert (await world.ok("PATCH", path, world.as_ana, {"autoRenew": False}))["data"]["state"] == "active"
    await end_overdue(world.database, world.now)
    assert (await shown(world, order["id"]))["subscription"]["state"] == "active"
    world.now += 30 * DAY
    await renew_due(world.database, world.now)
    await end_overdue(world.database, world.now)
    assert (await shown(world, order["id"]))["subscription"]["state"] == "ended"
    assert await available(world, world.ana) == 4000
    assert (await world.client.post(f"{path}/renew", headers=world.as_ana)).status_code == 409


async def test_a_customer_renews_in_grace_and_not_before(world: World) -> None:
    await fund(world, world.ana, 1000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    path = f"/v1/subscriptions/{order['subscription']['id']}/renew"
    assert (await world.client.post(path, headers=world.as_ana)).status_code == 409
    world.now += 30 * DAY
    await renew_due(world.database, world.now)
    short = await world.client.post(path, headers=world.as_ana)
    assert problem(short)["code"] == "insufficient-funds"
    await fund(world, world.ana, 1000)
    again = {**world.as_ana, "Idempotency-Key": f"renew-{order['id']}"}
    first, second = [await world.client.post(path, headers=again) for _ in range(2)]
    assert first.json() == second.json()
    assert (first.json()["data"]["state"], await available(world, world.ana)) == ("active", 0)
    assert f"balance:{world.ana.id}" in first.json()["entities"]


async def test_a_subscription_is_its_users_and_his_staffs_alone(world: World) -> None:
    await fund(world, world.ana, 1000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    other = await world.plan(price=2000)
    path = f"/v1/subscriptions/{order['subscription']['id']}"
    bob = world.owners.user(world.acme)
    for who in (world.customer(bob.id, world.acme), world.staff(world.rival)):
        assert (await world.client.get(path, headers=who)).status_code == 404
        assert (await world.client.get(f"{path}/plan-change?planId={other['id']}", headers=who)).status_code == 404
        for action, body in (("cancel", None), ("renew", None), ("plan-change", {"planId": other["id"]})):
            assert (await world.client.post(f"{path}/{action}", headers=who, json=body)).status_code == 404
        assert (await world.client.patch(path, headers=who, json={"autoRenew": False})).status_code == 404
        assert (await world.ok("GET", "/v1/subscriptions", who))["data"]["items"] == []
        refund = await world.client.post(f"/v1/orders/{order['id']}/refund", headers=who, json={})
        assert refund.status_code in (403, 404)
    support = world.staff(world.acme, "support")
    assert (await world.ok("GET", path, support))["data"]["state"] == "active"
    assert (await world.client.post(f"{path}/cancel", headers=support)).status_code == 403
    assert (await world.client.get("/v1/subscriptions?userId=no", headers=world.as_ana)).status_code == 400


async def _released(world: World, order: dict[str, Any]) -> int:
    found = await world.rows(
        "SELECT 1 FROM billing.outbox WHERE type = 'device.release' AND payload ->> 'deviceId' = :device"
        " AND (payload ->> 'fencingToken')::int = 7",
        device=order["deviceId"],
    )
    return len(found)


async def _reservations(world: World, order: dict[str, Any]) -> int:
    return len(await world.rows("SELECT 1 FROM billing.quota_releases WHERE reservation_id = :id", id=order["sagaId"]))

"""Refunds of orders, in parts and whole; coupons, as often as they may be used."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from cloudphone_core.billing.orders import service
from cloudphone_core.billing.orders.models import OrderRow
from cloudphone_shared.errors import Conflict
from tests.core.billing.conftest import World
from tests.core.billing.customers import available, bought, fund, placed, shown
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_a_refund_of_all_ends_the_order_and_gives_device_and_quota_back(world: World) -> None:
    await fund(world, world.ana, 1000)
    code = await _coupon(world, percent=50)
    order = await bought(world, world.ana, await world.plan(price=2000), coupon_code=code)
    assert (order["amount"], order["discount"], await available(world, world.ana)) == (1000, 1000, 0)
    path = f"/v1/orders/{order['id']}/refund"
    answers = await asyncio.gather(*(world.client.post(path, headers=world.admin, json={}) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    refunded = await shown(world, order["id"])
    assert (refunded["state"], refunded["refunded"], await available(world, world.ana)) == ("refunded", 1000, 1000)
    assert refunded["subscription"]["endReason"] == "the order was refunded"
    assert [step["state"] for step in refunded["history"]][-2:] == ["refunding", "refunded"]
    given_back = "SELECT 1 FROM billing.outbox WHERE type = 'device.release' AND payload ->> 'deviceId' = :device"
    assert len(await world.rows(given_back, device=order["deviceId"])) == 1
    freed = "SELECT 1 FROM billing.quota_releases WHERE reservation_id = :id"
    assert len(await world.rows(freed, id=order["sagaId"])) == 1
    # The coupon stays used.
    [use] = await world.rows("SELECT state FROM billing.coupon_uses WHERE order_id = :id", id=order["id"])
    assert use.state == "used"


async def test_parts_come_back_until_nothing_is_left(world: World) -> None:
    await fund(world, world.ana, 1000)
    order = await bought(world, world.ana, await world.plan(price=1000))
    path = f"/v1/orders/{order['id']}/refund"
    again = {**world.admin, "Idempotency-Key": f"refund-{order['id']}"}
    for _ in range(2):
        part = (await world.client.post(path, headers=again, json={"amount": 400})).json()["data"]
    assert (part["state"], part["refunded"], part["subscription"]["state"]) == ("completed", 400, "active")
    assert part["history"][-1]["says"] == "4.00 USD of it went back: refunded on request."
    too_much = await world.client.post(path, headers=world.admin, json={"amount": 601})
    assert problem(too_much)["refundable"] == 600
    for amount in (0, -1, 1.5, 10**30, "600"):
        assert (await world.client.post(path, headers=world.admin, json={"amount": amount})).status_code == 400
    assert (await world.client.post(path, headers=world.admin, json={"price": 1})).status_code == 400
    assert (await world.client.post(path, headers=world.as_ana, json={})).status_code == 403
    rest = (await world.ok("POST", path, world.admin, {"amount": 600}))["data"]
    assert (rest["state"], rest["refunded"], await available(world, world.ana)) == ("refunded", 1000, 1000)


async def test_what_was_not_completed_has_nothing_to_give_back(world: World) -> None:
    order_id = await placed(world, world.ana, await world.plan())
    answer = await world.client.post(f"/v1/orders/{order_id}/refund", headers=world.admin, json={})
    assert (answer.status_code, problem(answer)["current_state"]) == (409, "pending")


async def test_of_two_customers_with_one_use_left_one_gets_it(world: World) -> None:
    await world.open_connections()
    bob = world.owners.user(world.acme, name="Bob")
    plan = await world.plan(price=2000)
    code = await _coupon(world, percent=25, mostUses=1)
    tries = await asyncio.gather(
        *(placed(world, user, plan, coupon_code=code) for user in (world.ana, bob)), return_exceptions=True
    )
    [order_id] = [one for one in tries if not isinstance(one, BaseException)]
    [refusal] = [one for one in tries if isinstance(one, BaseException)]
    assert isinstance(refusal, Conflict)
    assert (await shown(world, order_id))["amount"] == 1500
    async with world.database.writing() as session:
        order = await session.get_one(OrderRow, order_id, with_for_update=True)
        await service.cancel(session, order, "changed my mind", world.now)
    # What came to nothing may be another's.
    await placed(world, bob, plan, coupon_code=code)
    [coupon] = await world.rows("SELECT uses FROM billing.coupons WHERE code = :code", code=code)
    assert coupon.uses == 1


async def test_a_coupon_is_checked_as_it_would_be_used(world: World) -> None:
    plan, other = await world.plan(price=999), await world.plan(price=300)
    cheap = await _coupon(world, percent=15)
    large = await _coupon(world, amount=500, currency="USD")
    euros = await _coupon(world, amount=500, currency="EUR")
    alone = await _coupon(world, percent=10, planId=other["id"])
    over = await _coupon(world, percent=10, validUntil=world.hour(1))

    async def check(code: str, on: dict[str, Any]) -> Any:
        answer = await world.client.get(
            "/v1/coupons/check", params={"code": code, "planId": on["id"]}, headers=world.as_ana
        )
        return answer.json()["data"]["amount"] if answer.is_success else answer.status_code

    assert await check(cheap, plan) == 849
    assert (await check(large, plan), await check(large, other)) == (499, 0)
    assert (await check(euros, plan), await check(alone, plan), await check(alone, other)) == (409, 409, 270)
    assert await check(over, plan) == 899
    world.now += timedelta(hours=2)
    assert (await check(over, plan), await check("NO-SUCH", plan), await check("bad code", plan)) == (409, 409, 400)
    await placed(world, world.ana, plan, coupon_code=cheap)
    assert await check(cheap, plan) == 409


async def test_coupons_are_kept_by_who_sells_to_all(world: World) -> None:
    code = await _coupon(world, percent=10)
    again = await world.client.post("/v1/coupons", headers=world.admin, json={"code": code, "percent": 5})
    assert problem(again)["code"] == "already-exists"
    for body in (
        {"percent": 10, "amount": 5, "currency": "USD"}, {}, {"amount": 5}, {"percent": 101}, {"percent": 0},
        {"amount": -5, "currency": "USD"}, {"percent": 5, "uses": 0},
    ):  # fmt: skip
        answer = await world.client.post("/v1/coupons", headers=world.admin, json={"code": "OTHER", **body})
        assert answer.status_code in (400, 422), body
    [coupon] = (await world.ok("GET", f"/v1/coupons?search={code}", world.admin))["data"]["items"]
    path = f"/v1/coupons/{coupon['id']}"
    stopped = (await world.ok("PATCH", path, world.admin, {"active": False}))["data"]
    assert (stopped["active"], stopped["version"] > coupon["version"]) == (False, True)
    for who in (world.as_ana, world.staff(world.acme)):
        for method, where in (("GET", "/v1/coupons"), ("GET", path), ("PATCH", path), ("POST", "/v1/coupons")):
            body = (
                None if method == "GET" else ({"active": True} if method == "PATCH" else {"code": "X1X", "percent": 1})
            )
            assert (await world.client.request(method, where, headers=who, json=body)).status_code == 403


async def test_a_revised_plan_leaves_what_was_ordered_at_its_price(world: World) -> None:
    plan = await world.plan(price=1000)
    before = await shown(world, await placed(world, world.ana, plan))
    path = f"/v1/plans/{plan['id']}/revisions"
    revised = (await world.ok("POST", path, world.admin, {"price": 1200, "includedHours": 5}))["data"]
    assert (revised["revision"], revised["price"], revised["includedHours"]) == (2, 1200, 5)
    assert (await world.ok("POST", path, world.admin, {"price": 1200}))["data"]["revision"] == 2
    after = await shown(world, await placed(world, world.ana, plan))
    assert [(one["planRevision"], one["amount"]) for one in (before, after)] == [(1, 1000), (2, 1200)]
    assert await shown(world, before["id"]) == {**before, "version": before["version"]}
    kept = (await world.ok("GET", path, world.as_ana))["data"]
    assert [(one["revision"], one["price"]) for one in kept] == [(2, 1200), (1, 1000)]
    assert (await world.client.post(path, headers=world.as_ana, json={"price": 1})).status_code == 403
    assert (await world.client.post(path, headers=world.staff(world.acme), json={"price": 1})).status_code == 403
    assert (await world.client.post(path, headers=world.admin, json={"currency": "EUR"})).status_code == 400
    gone = await world.client.delete(f"/v1/plans/{plan['id']}", headers=world.admin)
    assert gone.status_code == 409


_codes = iter(range(10_000))


async def _coupon(world: World, **fields: object) -> str:
    code = f"C{world.acme.hex[:12].upper()}-{next(_codes)}"
    await world.ok("POST", "/v1/coupons", world.admin, {"code": code, **fields})
    return code

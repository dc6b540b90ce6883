"""Orders: their price, their states, their history, and who may do what with them."""

import asyncio
from typing import get_args

import pytest
from sqlalchemy import text

from cloudphone_core.billing.states import STEPS, check_step
from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.errors import StateConflict
from tests.core.billing.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_an_order_has_the_plans_price_and_the_names_its_owners_tell(world: World) -> None:
    phone = world.owners.device(world.acme, world.ana.id)
    plan = await world.plan(price=4200, currency="EUR", name="Pro")
    body = {"planId": plan["id"], "deviceId": str(phone.id)}
    await world.fund(world.ana.id, 4200, "EUR")
    response = await world.client.post("/v1/orders", headers=world.as_ana, json=body)
    order = response.json()["data"]
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/orders/{order['id']}"
    assert response.headers["etag"] == f'"v{order["version"]}"'
    assert (order["amount"], order["currency"], order["planName"], order["state"]) == (4200, "EUR", "Pro", "completed")
    assert (order["userName"], order["userEmail"], order["deviceName"]) == ("Ana", "ana@example.com", "Pixel")
    assert [step["state"] for step in order["history"]] == ["pending", "provisioning", "paid", "completed"]
    shown = response.json()["entities"]
    assert shown[f"order:{order['id']}"] == order["version"] > 0
    assert f"plan:{plan['id']}" in shown
    again = await world.ok("GET", response.headers["location"], world.as_ana)
    assert again["data"] == order


async def test_a_request_cannot_name_its_price(world: World) -> None:
    plan = await world.plan()
    response = await world.client.post("/v1/orders", headers=world.as_ana, json={"planId": plan["id"], "amount": 1})
    assert response.status_code == 400
    assert problem(response)["code"] == "invalid"


async def test_a_repeated_request_makes_one_order(world: World) -> None:
    body = {"planId": (await world.plan())["id"]}
    headers = {**world.as_ana, "Idempotency-Key": "once-only"}
    await world.fund(world.ana.id, 2 * 1999)
    first = await world.client.post("/v1/orders", headers=headers, json=body)
    second = await world.client.post("/v1/orders", headers=headers, json=body)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert len((await world.ok("GET", f"/v1/users/{world.ana.id}/orders", world.as_ana))["data"]) == 1
    other = await world.client.post("/v1/orders", headers=headers, json={"planId": (await world.plan())["id"]})
    assert other.status_code == 422


async def test_a_new_order_touches_the_users_orders(world: World) -> None:
    path = f"/v1/users/{world.ana.id}/orders"
    before = (await world.ok("GET", path, world.bff))["entities"][f"orders-of:{world.ana.id}"]
    order = await world.order()
    after = await world.ok("GET", path, world.bff)
    assert after["entities"][f"orders-of:{world.ana.id}"] > before
    assert after["entities"][f"order:{order['id']}"] == order["version"]
    assert [one["id"] for one in after["data"]] == [order["id"]]


async def test_nobody_orders_what_is_not_offered_or_for_whom_is_not_there(world: World) -> None:
    plan = await world.plan()
    stranger = world.owners.user(world.rival)
    gone = world.owners.user(world.acme, status="suspended")
    theirs = world.owners.device(world.acme, gone.id)
    foreign = world.owners.device(world.rival)

    async def refused(who: dict[str, str], **body: object) -> int:
        response = await world.client.post("/v1/orders", headers=who, json={"planId": plan["id"], **body})
        problem(response)
        return response.status_code

    assert await refused(world.as_ana, planId=str(world.acme)) == 404
    assert await refused(world.as_ana, userId=str(gone.id)) == 403
    assert await refused(world.as_ana, deviceId=str(theirs.id)) == 404
    assert await refused(world.as_ana, deviceId=str(foreign.id)) == 404
    assert await refused(world.as_ana, deviceId=str(world.acme)) == 404
    assert await refused(world.staff(world.acme), userId=str(stranger.id)) == 404
    assert await refused(world.staff(world.acme), userId=str(gone.id)) == 409
    assert await refused(world.staff(world.acme), userId=str(world.ana.id), deviceId=str(foreign.id)) == 404
    assert await refused(world.staff(world.acme, "support"), userId=str(world.ana.id)) == 403
    await world.ok("PATCH", f"/v1/plans/{plan['id']}", world.admin, {"active": False})
    assert await refused(world.as_ana) == 409
    assert await refused(world.bff) == 403


async def test_an_owner_that_is_away_is_unavailable_not_unknown(world: World) -> None:
    plan = await world.plan()
    world.owners.away = {"user"}
    response = await world.client.post("/v1/orders", headers=world.as_ana, json={"planId": plan["id"]})
    assert response.status_code == 503
    assert problem(response)["service"] == "user"


async def test_staff_order_for_a_customer(world: World) -> None:
    order = await world.order(world.staff(world.acme), userId=str(world.ana.id))
    assert (order["userId"], order["tenantId"]) == (str(world.ana.id), str(world.acme))


async def test_a_customer_cancels_an_order_that_waits_for_a_device_once(world: World) -> None:
    order = await world.order()
    path = f"/v1/orders/{order['id']}/cancel"
    cancelled = (await world.ok("POST", path, world.as_ana, {"reason": "changed my mind"}))["data"]
    assert cancelled["state"] == "cancelled"
    assert cancelled["version"] > order["version"]
    assert [(step["state"], step["reason"]) for step in cancelled["history"]] == [
        ("pending", "ordered"),
        ("provisioning", "being provisioned"),
        ("compensating", "changed my mind"),
        ("cancelled", "changed my mind"),
    ]
    again = await world.client.post(path, headers=world.as_ana, json={})
    assert again.status_code == 409
    assert problem(again)["current_state"] == "compensated"


async def test_of_two_cancellations_at_once_one_wins(world: World) -> None:
    await world.open_connections()
    order = await world.order()
    path = f"/v1/orders/{order['id']}/cancel"
    answers = await asyncio.gather(*(world.client.post(path, headers=world.as_ana, json={}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


def test_an_order_walks_its_table_and_nothing_else() -> None:
    for state in get_args(OrderState):
        for wanted in get_args(OrderState):
            if wanted in STEPS[state]:
                check_step(state, wanted)
                continue
            with pytest.raises(StateConflict) as refused:
                check_step(state, wanted)
            assert refused.value.members == {"current_state": state, "allowed": list(STEPS[state])}


async def test_a_write_on_an_old_version_is_refused(world: World) -> None:
    order = await world.order()
    path = f"/v1/orders/{order['id']}/cancel"
    for version, status in (("v1", 400), (f'"v{order["version"] - 1}"', 412), (f'"v{order["version"]}"', 200)):
        answer = await world.client.post(path, headers={**world.as_ana, "If-Match": version}, json={})
        assert answer.status_code == status


async def test_the_database_refuses_an_order_that_is_not_its_last_event(world: World) -> None:
    order = await world.order()
    with pytest.raises(Exception, match="its last event says provisioning"):
        async with world.database.writing() as session:
            await session.execute(text("UPDATE billing.orders SET state = 'paid' WHERE id = :id"), {"id": order["id"]})

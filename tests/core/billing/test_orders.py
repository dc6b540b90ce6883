"""Orders: their price, their states, their history, and who may do what with them."""

import asyncio
from typing import get_args

import pytest

from cloudphone_core.billing.states import STEPS
from cloudphone_shared.contracts.billing import OrderState
from tests.core.billing.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_an_order_has_the_plans_price_and_the_names_its_owners_tell(world: World) -> None:
    phone = world.owners.device(world.acme, world.ana.id)
    plan = await world.plan(price=4200, currency="EUR", name="Pro")
    body = {"planId": plan["id"], "deviceId": str(phone.id)}
    response = await world.client.post("/v1/orders", headers=world.as_ana, json=body)
    order = response.json()["data"]
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/orders/{order['id']}"
    assert response.headers["etag"] == f'"v{order["version"]}"'
    assert (order["amount"], order["currency"], order["planName"], order["state"]) == (4200, "EUR", "Pro", "pending")
    assert (order["userName"], order["userEmail"], order["deviceName"]) == ("Ana", "ana@example.com", "Pixel")
    assert [step["state"] for step in order["history"]] == ["pending"]
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


async def test_a_customer_cancels_a_pending_order_once(world: World) -> None:
    order = await world.order()
    path = f"/v1/orders/{order['id']}/cancel"
    cancelled = (await world.ok("POST", path, world.as_ana, {"reason": "changed my mind"}))["data"]
    assert cancelled["state"] == "cancelled"
    assert cancelled["version"] > order["version"]
    assert [(step["state"], step["reason"]) for step in cancelled["history"]] == [
        ("pending", "ordered"),
        ("cancelled", "changed my mind"),
    ]
    again = await world.client.post(path, headers=world.as_ana, json={})
    assert again.status_code == 409
    assert problem(again)["current_state"] == "cancelled"
    assert problem(again)["allowed"] == []


async def test_of_two_cancellations_at_once_one_wins(world: World) -> None:
    await world.open_connections()
    order = await world.order()
    path = f"/v1/orders/{order['id']}/cancel"
    answers = await asyncio.gather(*(world.client.post(path, headers=world.as_ana, json={}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_an_order_walks_its_table_and_nothing_else(world: World) -> None:
    """Every state is reached along the table; from there each of the ten states is tried."""
    routes: dict[OrderState, list[OrderState]] = {"pending": []}
    for state in STEPS:
        for following in STEPS[state]:
            routes.setdefault(following, [*routes[state], following])
    assert set(routes) == set(get_args(OrderState)) == set(STEPS)
    plan = await world.plan()

    async def walked(*route: OrderState) -> str:
        order = await world.order(planId=plan["id"])
        path = f"/v1/orders/{order['id']}"
        for step in route:
            await world.ok("PATCH", path, world.admin, {"state": step})
        return path

    for state, route in routes.items():
        path = await walked(*route)
        for wanted in set(get_args(OrderState)) - set(STEPS[state]):
            response = await world.client.patch(path, headers=world.admin, json={"state": wanted})
            assert response.status_code == 409, (state, wanted)
            refusal = problem(response)
            assert (refusal["current_state"], refusal["allowed"]) == (state, list(STEPS[state]))
        kept = (await world.ok("GET", path, world.admin))["data"]
        assert [step["state"] for step in kept["history"]] == ["pending", *route]
        for wanted in STEPS[state]:
            path = await walked(*route)
            done = (await world.ok("PATCH", path, world.admin, {"state": wanted}))["data"]
            assert [step["state"] for step in done["history"]] == ["pending", *route, wanted]


async def test_a_step_binds_a_device_while_the_order_is_provisioned(world: World) -> None:
    order = await world.order()
    phone = world.owners.device(world.acme, name="Galaxy")
    path = f"/v1/orders/{order['id']}"
    foreign = {"state": "provisioning", "deviceId": str(world.owners.device(world.rival).id)}
    assert (await world.client.patch(path, headers=world.admin, json=foreign)).status_code == 404
    bound = await world.ok("PATCH", path, world.admin, {"state": "provisioning", "deviceId": str(phone.id)})
    assert (bound["data"]["deviceId"], bound["data"]["deviceName"]) == (str(phone.id), "Galaxy")
    await world.ok("PATCH", path, world.admin, {"state": "paid"})
    late = {"state": "completed", "deviceId": str(phone.id)}
    assert (await world.client.patch(path, headers=world.admin, json=late)).status_code == 409


async def test_a_write_on_an_old_version_is_refused(world: World) -> None:
    order = await world.order()
    path = f"/v1/orders/{order['id']}"
    old = {**world.admin, "If-Match": f'"v{order["version"]}"'}
    fresh = await world.client.patch(path, headers=old, json={"state": "provisioning"})
    assert fresh.status_code == 200
    stale = await world.client.patch(path, headers=old, json={"state": "paid"})
    assert stale.status_code == 412
    assert problem(stale)["current"] == fresh.headers["etag"]
    assert (
        await world.client.patch(path, headers={**world.admin, "If-Match": "v1"}, json={"state": "paid"})
    ).status_code == 400


async def test_the_database_refuses_an_order_that_is_not_its_last_event(world: World) -> None:
    order = await world.order()
    with pytest.raises(Exception, match="its last event says pending"):
        async with world.database.writing() as session:
            from sqlalchemy import text

            await session.execute(text("UPDATE billing.orders SET state = 'paid' WHERE id = :id"), {"id": order["id"]})

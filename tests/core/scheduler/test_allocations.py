"""A device for who asks: reserved, taken, given back; nobody's who is not of its tenant."""

from uuid import uuid4

import pytest

from cloudphone_core.scheduler.models import Base
from cloudphone_shared.database import History, differences
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved
from tests.core.scheduler.conftest import World

pytestmark = pytest.mark.anyio


async def test_the_migrations_make_what_the_models_say(url: str) -> None:
    assert await differences(url, History.of("scheduler"), Base.metadata) == []


async def test_an_allocation_lives_from_its_reservation_to_its_release(world: World) -> None:
    node = await world.node()
    [phone] = await world.phones(node)

    given = await world.placed()

    assert (given["state"], given["deviceId"], given["nodeId"]) == ("reserved", str(phone), str(node))
    [told] = await world.announced(AllocationReserved)
    assert (told.device_id, told.user_id, told.fencing_token) == (phone, world.user.id, given["fencingToken"])
    assert (await world.allocate()).status_code == 409

    await world.device_took(given)
    active = await world.got(f"/v1/allocations/{given['id']}")
    assert (active["state"], active["leaseUntil"]) == ("active", None)

    assert (await world.release(given, token=given["fencingToken"] + 1)).status_code == 409
    for _ in range(2):
        assert (await world.release(given)).json()["data"]["state"] == "released"
    [taken] = await world.announced(AllocationReleased)
    assert (taken.device_id, taken.reason) == (phone, "done with")

    await world.device_is(phone, "cleaning")
    assert (await world.allocate()).status_code == 409
    await world.device_is(phone, "idle")
    again = await world.placed()
    assert again["fencingToken"] > given["fencingToken"]


async def test_a_users_device_is_his_tenants(world: World) -> None:
    stranger = world.owners.user(uuid4(), name="Bob")
    node = await world.node()
    await world.phones(node, 3)
    assert (await world.allocate(stranger)).status_code == 409
    [foreign] = await world.phones(node, tenant=stranger.tenant_id)
    assert (await world.placed(stranger))["deviceId"] == str(foreign)
    assert (await world.ask("POST", "/v1/allocations", {"userId": uuid4()})).status_code == 400


async def test_the_same_request_twice_is_given_the_same_device(world: World) -> None:
    await world.phones(await world.node(), 2)
    body = {"userId": world.user.id}
    first, second = [await world.ask("POST", "/v1/allocations", body, idempotency_key="once") for _ in range(2)]
    assert first.json() == second.json()
    assert (await world.rows("SELECT count(*) FROM scheduler.allocations"))[0][0] == 1
    other = {**body, "constraints": {"region": "us"}}
    assert (await world.ask("POST", "/v1/allocations", other, idempotency_key="once")).status_code == 422


async def test_a_refusal_says_of_each_node_why(world: World) -> None:
    asked = {"region": "us", "labels": {"gpu": "yes"}}
    for name, fields in {
        "a": {"region": "us", "labels": {"gpu": "yes"}, "status": "draining"},
        "b": {"region": "us", "labels": {"gpu": "yes"}, "alive": False},
        "c": {"region": "eu", "labels": {"gpu": "yes"}},
        "d": {"region": "us"},
        "e": {"region": "us", "labels": {"gpu": "yes"}},
    }.items():
        node = await world.node(name, **fields)  # type: ignore[arg-type]
        if name != "e":
            await world.phones(node)

    refusal = await world.allocate(constraints=asked)

    problem = refusal.json()
    assert (refusal.status_code, problem["code"]) == (409, "no-device-fits")
    assert {node["nodeName"]: node["reasons"] for node in problem["nodes"]} == {
        "a": ["it is being drained"],
        "b": ["it has never reported"],
        "c": ["it stands in eu, not in us"],
        "d": ["it is not labelled gpu=yes"],
        "e": ["it has no idle device of the tenant's"],
    }
    assert "it is being drained (1 of 5 nodes)" in problem["detail"]


async def test_a_simulation_shows_what_a_request_then_gets_and_reserves_nothing(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.phones(await world.node(name), 2)
    for _ in range(6):
        body = {"userId": world.user.id}
        foretold = [(await world.ask("POST", "/v1/placements/simulate", body)).json()["data"] for _ in range(2)]
        given = await world.placed()
        for each in foretold:
            assert (each["deviceId"], each["nodeId"]) == (given["deviceId"], given["nodeId"])
            assert [node["nodeId"] for node in each["nodes"] if node["chosen"]] == [given["nodeId"]]

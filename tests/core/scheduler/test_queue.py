"""Who waits is served in turn."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from cloudphone_core.scheduler import queue
from cloudphone_core.scheduler.main import create_app
from cloudphone_core.scheduler.models import SCHEMA
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database
from cloudphone_shared.events.scheduler import AllocationReleased
from tests.core.owners import Owners
from tests.core.scheduler.conftest import PATIENCE, World
from tests.signing import Signer, client_of

pytestmark = pytest.mark.anyio


async def waiting(world: World, user: User | None = None, **fields: object) -> dict[str, Any]:
    answer = await world.allocate(user, waitSeconds=600, **fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["data"]


async def state_of(world: World, request: dict[str, Any]) -> str:
    return (await world.got(f"/v1/allocation-requests/{request['id']}"))["state"]


async def test_fifty_at_once_for_ten_devices(world: World, url: str, owners: Owners, signer: Signer) -> None:
    for node in [await world.node() for _ in range(5)]:
        await world.phones(node, 2)
    other = create_app(
        database=Database(url, schema=SCHEMA, service="scheduler"), verifier=signer.verifier(),
        core=owners.clients(signer, "scheduler"), cursor_key="key", body_limit_bytes=65_536, patience=PATIENCE,
    )  # fmt: skip
    async with client_of(other) as second:

        async def ask(n: int) -> httpx.Response:
            body = {"userId": str(world.user.id), "waitSeconds": 0 if n % 5 else 600}
            return await (world.http, second)[n % 2].post("/v1/allocations", json=body, headers=world.admin)

        answers = await asyncio.gather(*(ask(n) for n in range(50)))

    assert Counter(answer.status_code for answer in answers)[201] == 10
    assert {answer.status_code for answer in answers} <= {201, 202, 409}
    given = [answer.json()["data"]["allocation"] for answer in answers if answer.status_code == 201]
    assert len({each["deviceId"] for each in given}) == len({each["fencingToken"] for each in given}) == 10
    assert set(Counter(each["nodeId"] for each in given).values()) == {2}
    live = await world.rows("SELECT count(*) FROM scheduler.allocations WHERE state IN ('reserved', 'active')")
    assert live[0][0] == 10


async def test_a_device_that_comes_back_goes_to_who_waited_longest(world: World) -> None:
    [phone] = await world.phones(await world.node())
    held = await world.placed()
    first, second = await waiting(world), await waiting(world)
    assert (first["place"], second["place"]) == (1, 2)
    explained = await world.got(f"/v1/allocation-requests/{second['id']}/explanation")
    assert explained["nodes"][0]["reasons"] == ["it has no idle device of the tenant's"]
    await world.device_took(held)
    await world.release(held)
    assert await world.serve() == 0
    await world.device_is(phone, "idle")

    assert (await world.allocate()).status_code == 409, "nobody is let in before those who wait"
    assert await world.serve() == 1

    assert (await state_of(world, first), await state_of(world, second)) == ("placed", "queued")
    assert (await world.got(f"/v1/allocation-requests/{second['id']}"))["place"] == 1


async def test_who_is_hard_to_please_holds_nobody_up_and_is_not_passed_over(world: World) -> None:
    picky = await waiting(world, constraints={"region": "us"})
    easy = [await waiting(world) for _ in range(2)]
    node = await world.node(region="eu")
    await world.phones(node)
    assert await world.serve() == 1
    assert [await state_of(world, each) for each in (picky, *easy)] == ["queued", "placed", "queued"]

    await world.phones(await world.node(region="us"))
    assert await world.serve() == 1
    assert [await state_of(world, each) for each in (picky, *easy)] == ["placed", "placed", "queued"]


async def test_tenants_take_turns(world: World) -> None:
    """One that asks a hundredfold is served no more often than the others."""
    users = [
        world.owners.user(tenant) for tenant in (world.tenant, *(world.owners.user(world.tenant).id for _ in "ab"))
    ]
    node = await world.node()
    for user, count in zip(users, (6, 2, 2), strict=True):
        for _ in range(count):
            await waiting(world, user)
    for user, count in zip(users, (6, 2, 2), strict=True):
        await world.phones(node, count, tenant=user.tenant_id)
    assert await world.serve() == 10
    order = [row[0] for row in await world.rows("SELECT tenant_id FROM scheduler.allocations ORDER BY fencing_token")]
    for start in (0, 3):
        assert set(order[start : start + 3]) == {user.tenant_id for user in users}
    assert set(order[6:]) == {world.tenant}


async def test_a_wait_ends_at_its_deadline_or_when_it_is_cancelled(world: World) -> None:
    late, cancelled = await waiting(world), await waiting(world)
    path = f"/v1/allocation-requests/{cancelled['id']}"
    assert (await world.ask("DELETE", path)).json()["data"]["state"] == "cancelled"
    await world.rows(
        "UPDATE scheduler.requests SET deadline_at = now() - interval '1 second' WHERE id = :id", id=late["id"]
    )
    await world.phones(await world.node())
    assert await world.serve() == 0
    await queue.expire(world.database, PATIENCE)
    assert (await state_of(world, late), await state_of(world, cancelled)) == ("expired", "cancelled")


async def test_a_refused_reservation_goes_back_to_its_place(world: World) -> None:
    node = await world.node()
    [phone] = await world.phones(node)
    given = await world.placed(waitSeconds=600)
    behind = await waiting(world)
    await world.device_refused(given)
    [released] = await world.announced(AllocationReleased)
    assert (released.device_id, released.fencing_token) == (phone, given["fencingToken"])
    [other] = await world.phones(node)
    await world.rows("UPDATE scheduler.devices SET rest_until = now() + interval '1 hour' WHERE id = :id", id=phone)

    assert await world.serve() == 1

    again = await world.got(f"/v1/allocation-requests/{given['requestId']}")
    assert (again["state"], again["allocation"]["deviceId"]) == ("placed", str(other))
    assert await state_of(world, behind) == "queued"


async def test_leases_run_out_by_the_databases_clock(world: World) -> None:
    await world.phones(await world.node(), 3)
    leased, renewed, confirmed = [await world.placed(leaseSeconds=60) for _ in range(3)]
    for each in (leased, renewed, confirmed):
        await world.device_took(each)
    early = {"fencingToken": confirmed["fencingToken"] - 1}
    assert (await world.ask("POST", f"/v1/allocations/{confirmed['id']}/confirm", early)).status_code == 409
    right = {"fencingToken": confirmed["fencingToken"]}
    kept = await world.ask("POST", f"/v1/allocations/{confirmed['id']}/confirm", right)
    assert kept.json()["data"]["leaseUntil"] is None
    async with world.database.writing() as session:
        await session.execute(sa.text("UPDATE scheduler.allocations SET lease_until = lease_until - interval '1 hour'"))
    body = {"fencingToken": renewed["fencingToken"], "leaseSeconds": 60}
    assert (await world.ask("POST", f"/v1/allocations/{renewed['id']}/renew", body)).status_code == 200

    await queue.expire(world.database, PATIENCE)

    states = [(await world.got(f"/v1/allocations/{each['id']}"))["state"] for each in (leased, renewed, confirmed)]
    assert states == ["expired", "active", "active"]
    assert (await world.ask("POST", f"/v1/allocations/{leased['id']}/renew", body)).status_code == 409


async def test_an_allocation_whose_device_was_taken_back_by_others_ends(world: World) -> None:
    node = await world.node()
    [phone, other] = await world.phones(node, 2)
    given = [await world.placed() for _ in range(2)]
    for each in given:
        await world.device_took(each)
    await queue.expire(world.database, PATIENCE)
    await world.device_is(phone, "cleaning")
    await world.device_is(other, "stopped")
    await queue.expire(world.database, PATIENCE)
    of = {each["deviceId"]: (await world.got(f"/v1/allocations/{each['id']}"))["state"] for each in given}
    assert of == {str(phone): "released", str(other): "active"}

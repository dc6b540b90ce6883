"""Quotas: nobody is given more than his limit, however many ask at once, and what was released stays released."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from cloudphone_core.user import quotas
from cloudphone_shared import entities
from cloudphone_shared.contracts.quota import ReservationCreate
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, NotFound, QuotaExceeded, StateConflict

from .conftest import World

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


class Quotas:
    """Reserves as billing does, and sets limits as `root` does."""

    def __init__(self, world: World, billing: Headers) -> None:
        self.world, self.billing = world, billing

    async def reserve(
        self, user_id: str, reservation_id: str | None = None, amount: int = 1, by: Headers | None = None
    ) -> httpx.Response:
        body = {"id": reservation_id or str(uuid4()), "userId": user_id, "amount": amount}
        return await self.world.http.post("/v1/quota-reservations", json=body, headers=by or self.billing)

    async def settle(self, reservation_id: str, how: str, by: Headers | None = None) -> httpx.Response:
        path = f"/v1/quota-reservations/{reservation_id}/{how}"
        return await self.world.http.post(path, headers=by or self.billing)

    async def limit(self, place: str, limit: object, by: Headers | None = None) -> httpx.Response:
        body = {"limit": limit}
        return await self.world.http.put(f"/v1/{place}/quotas/devices", json=body, headers=by or self.world.root)

    async def seen(self, place: str, by: Headers | None = None) -> httpx.Response:
        return await self.world.http.get(f"/v1/{place}/quotas", headers=by or self.world.root)

    async def of(self, user_id: str) -> tuple[int, int, str]:
        [quota] = (await self.seen(f"users/{user_id}")).json()["data"]
        return quota["limit"], quota["used"], quota["source"]


@pytest.fixture
async def asked(world: World) -> Quotas:
    return Quotas(world, await world.as_service("billing"))


async def announced(database: Database) -> list[tuple[str, int]]:
    query = "SELECT type, (payload ->> 'used')::int FROM identity.outbox WHERE type LIKE 'quota.%' ORDER BY id"
    async with database.reading() as session:
        return [(row[0], row[1]) for row in await session.execute(text(query))]


async def test_a_hundred_at_once_get_no_more_than_there_is(world: World, asked: Quotas, database: Database) -> None:
    ana = await world.user()
    await asked.limit(f"users/{ana['id']}", 10)

    answers = await asyncio.gather(*(asked.reserve(ana["id"]) for _ in range(100)))

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 90
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (refused["code"], refused["resource"], refused["limit"], refused["used"]) == (
        "quota-exceeded", "devices", 10, 10,
    )  # fmt: skip
    assert await asked.of(ana["id"]) == (10, 10, "user")
    told = await announced(database)
    assert [used for kind, used in told if kind == "quota.changed"] == [0, *range(1, 11)]
    assert [used for kind, used in told if kind == "quota.exceeded"] == [10] * 90


async def test_a_reservation_is_made_once_however_often_it_is_asked_for(world: World, asked: Quotas) -> None:
    ana, ben = await world.user(), await world.user()
    one = str(uuid4())

    answers = await asyncio.gather(*(asked.reserve(ana["id"], one) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers if answer.json()["data"].pop("createdAt")}) == 1
    assert answers[0].json()["entities"].keys() == {entities.quotas(ana["id"])}
    assert await asked.of(ana["id"]) == (100, 1, "default")
    assert (await asked.reserve(ana["id"], one, amount=2)).json()["code"] == "conflict"
    assert (await asked.reserve(ben["id"], one)).json()["code"] == "conflict"


async def test_releases_and_requests_that_cross_leave_nothing_held(world: World, asked: Quotas) -> None:
    ana = await world.user()
    ids = [str(uuid4()) for _ in range(20)]

    async def cross(one: str) -> None:
        await asyncio.gather(asked.reserve(ana["id"], one), asked.settle(one, "release"), asked.settle(one, "commit"))

    await asyncio.gather(*map(cross, ids))

    assert (await asked.of(ana["id"]))[1] == 0
    for one in ids:
        late = await asked.reserve(ana["id"], one)
        assert (late.status_code, late.json()["code"]) == (409, "state-conflict")
        assert (await asked.settle(one, "release")).status_code == 200
        assert (await asked.settle(one, "commit")).json()["code"] == "state-conflict"


async def test_a_users_limit_goes_before_the_tenants_and_that_before_the_platforms(world: World, asked: Quotas) -> None:
    tenant = await world.tenant()
    ana = await world.user(tenantId=tenant)
    place, of_tenant = f"users/{ana['id']}", f"tenants/{tenant}"
    assert await asked.of(ana["id"]) == (100, 0, "default")
    before = (await asked.seen(place)).json()["entities"]

    assert (await asked.limit(of_tenant, 3)).json()["data"]["source"] == "tenant"
    after = (await asked.seen(place)).json()["entities"]
    assert (await asked.of(ana["id"]))[::2] == (3, "tenant")
    assert after[entities.tenant(tenant)] > before[entities.tenant(tenant)]
    assert (await asked.limit(place, 0)).json()["data"]["limit"] == 0
    assert (await asked.reserve(ana["id"])).json()["code"] == "quota-exceeded"
    assert (await asked.limit(place, None)).json()["data"]["limit"] == 3
    assert (await asked.reserve(ana["id"], amount=3)).status_code == 201
    assert (await asked.limit(place, 2)).json()["data"]["used"] == 3
    assert (await asked.reserve(ana["id"])).json()["code"] == "quota-exceeded"
    assert (await asked.limit(of_tenant, None)).json()["data"] == {
        "tenantId": tenant, "resource": "devices", "limit": 100, "source": "default",
    }  # fmt: skip
    for wrong in (-1, 1_000_001, 1.5, 3.0, "3", "null", True):
        assert (await asked.limit(place, wrong)).status_code == 400
    assert (await asked.limit(place.replace(ana["id"], str(uuid4())), 1)).status_code == 404
    assert (await world.http.put(f"/v1/{place}/quotas/cars", json={"limit": 1}, headers=world.root)).status_code == 404


async def test_reserving_is_billings_and_quotas_are_their_tenants(world: World, asked: Quotas) -> None:
    tenant, other = await world.tenant(), await world.tenant("Other")
    ana, own = await world.member(tenantId=tenant)
    _, chief = await world.member(tenantId=tenant, role="admin", dataScope="tenant")
    _, stranger = await world.member(tenantId=other, role="admin", dataScope="tenant")
    one = str(uuid4())
    for caller in (world.root, chief, own, await world.as_service("bff-admin")):
        assert (await asked.reserve(ana["id"], one, by=caller)).status_code == 403
        assert (await asked.settle(one, "release", by=caller)).status_code == 403
    assert (await asked.reserve(ana["id"], one)).status_code == 201

    place = f"users/{ana['id']}"
    assert (await asked.seen(place, by=own)).json()["data"][0]["used"] == 1
    assert (await asked.limit(place, 99, by=own)).status_code == 403
    assert (await asked.limit(place, 99, by=chief)).status_code == 200
    assert (await asked.limit(place, 101, by=chief)).json()["limit"] == 100
    assert (await asked.limit(f"tenants/{tenant}", 1, by=chief)).status_code == 403
    for foreign in (place, f"tenants/{tenant}"):
        assert (await asked.seen(foreign, by=stranger)).status_code == 404
        assert (await asked.limit(foreign, 1, by=stranger)).status_code == 404
    assert await asked.of(ana["id"]) == (99, 1, "user")


async def test_nothing_is_reserved_for_whom_is_not_there_or_not_active(world: World, asked: Quotas) -> None:
    ana = await world.user()
    reserved = (await asked.reserve(ana["id"])).json()["data"]["id"]
    await world.suspend(ana["id"])
    assert (await asked.reserve(ana["id"])).json()["code"] == "state-conflict"
    assert (await asked.reserve(str(uuid4()))).status_code == 404
    assert (await world.http.delete(f"/v1/users/{ana['id']}", headers=world.root)).status_code == 200
    assert (await asked.settle(reserved, "commit")).json()["data"]["state"] == "committed"
    assert (await asked.settle(reserved, "release")).json()["data"]["state"] == "released"
    assert (await asked.settle(str(uuid4()), "commit")).status_code == 404
    for amount in (0, -1, 1001, 1.5, 1.0, "1"):
        assert (await asked.reserve(ana["id"], amount=amount)).status_code == 400  # pyright: ignore[reportArgumentType]


IDS = [UUID(int=number) for number in range(1, 6)]
STEPS = st.tuples(st.sampled_from(["reserve", "reserve", "commit", "release"]), st.sampled_from(IDS), st.integers(1, 3))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14), limit=st.integers(0, 6))
async def test_any_history_counts_as_a_plain_model_does(
    world: World, database: Database, steps: list[tuple[str, UUID, int]], limit: int
) -> None:
    ana = UUID((await world.user())["id"])
    at = datetime.now(UTC)
    model: dict[UUID, tuple[str, int]] = {}

    async def told(step: str, one: UUID, amount: int) -> str:
        """What becomes of it: the reservation's state, or the refusal's class. Ids are this example's own."""
        own = UUID(int=one.int ^ ana.int)
        try:
            async with database.writing() as session:
                if step == "reserve":
                    wanted = ReservationCreate(id=own, user_id=ana, amount=amount)
                    answer = await quotas.reserve(session, wanted, at)
                    return "exceeded" if isinstance(answer, QuotaExceeded) else answer.data.state
                settle = quotas.commit if step == "commit" else quotas.release
                return (await settle(session, own, at)).data.state
        except (Conflict, NotFound) as refusal:
            return type(refusal).__name__

    def expected(step: str, one: UUID, amount: int) -> str:
        state, known = model.get(one, ("", amount))
        if step == "release":
            model[one] = ("released", 0)
            return "released"
        if state == "released":
            return StateConflict.__name__
        if step == "commit":
            if not state:
                return NotFound.__name__
            model[one] = ("committed", known)
            return "committed"
        if state:
            return state if known == amount else Conflict.__name__
        if used() + amount > limit:
            return "exceeded"
        model[one] = ("held", amount)
        return "held"

    def used() -> int:
        return sum(amount for _, amount in model.values())

    await world.http.put(f"/v1/users/{ana}/quotas/devices", json={"limit": limit}, headers=world.root)
    for step in steps:
        assert await told(*step) == expected(*step)
        shown = (await world.http.get(f"/v1/users/{ana}/quotas", headers=world.root)).json()["data"][0]
        assert shown["used"] == used() <= limit

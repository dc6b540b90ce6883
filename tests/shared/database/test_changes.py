"""A service tells what it changed lately, so that who missed something can catch up."""

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from cloudphone_shared.database import Database, announce, changes_route, raise_incarnation
from cloudphone_shared.http.app import create_app
from tests.conditions import eventually
from tests.shared.database.shop import ThingChanged
from tests.shared.database.test_relay import FIRST, Recorder, all_marked, relaying
from tests.signing import Signer, client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Asks as the cache worker does."""
    signer = Signer()
    app = create_app("shop", [changes_route(database, "shop")], verifier=signer.verifier())
    async with client_of(app) as client:
        client.headers.update(signer.service("cache-worker"))
        yield client


async def announce_and_publish(database: Database, count: int) -> None:
    bus = Recorder()
    async with relaying(database, bus):
        for n in range(count):
            async with database.writing() as session:
                await announce(session, ThingChanged(text=str(n)), f"thing:{n}", "things")
        await eventually(lambda: str(count - 1) in bus.texts)
        await eventually(lambda: all_marked(database))


async def changes(worker: httpx.AsyncClient, **query: int) -> dict[str, object]:
    answer = await worker.get("/internal/changes", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_changes_after_a_number_come_in_order_with_their_versions(
    database: Database, worker: httpx.AsyncClient
) -> None:
    await announce_and_publish(database, 5)
    found = await changes(worker, after=FIRST + 1, limit=2)
    assert [(one["seq"], one["entities"]) for one in found["changes"]] == [
        (FIRST + 2, {"thing:2": FIRST, "things": FIRST + 2}),
        (FIRST + 3, {"thing:3": FIRST, "things": FIRST + 3}),
    ]
    assert (found["position"], found["incarnation"]) == (FIRST + 4, 1)
    assert (await changes(worker, after=FIRST + 4))["changes"] == []


async def test_changes_of_the_last_minutes_are_without_a_gap_up_to_the_position(
    database: Database, worker: httpx.AsyncClient
) -> None:
    await announce_and_publish(database, 6)
    async with database.writing() as session:
        await session.execute(
            text("UPDATE shop.outbox SET published_at = now() - interval '1 hour' WHERE seq <= :n"), {"n": FIRST + 1}
        )
        # Published, but not marked yet: the feed may have missed it all the same.
        await session.execute(text("UPDATE shop.outbox SET published_at = NULL WHERE seq = :n"), {"n": FIRST + 5})
    found = await changes(worker, since_ms=600_000)
    assert [one["seq"] for one in found["changes"]] == list(range(FIRST + 2, FIRST + 6))
    async with database.writing() as session:
        await session.execute(text("UPDATE shop.outbox SET published_at = now() - interval '1 hour'"))
    assert await changes(worker, since_ms=600_000) == {"changes": [], "position": FIRST + 5, "incarnation": 1}


async def test_a_change_without_a_number_is_not_told(database: Database, worker: httpx.AsyncClient) -> None:
    async with database.writing() as session:
        await announce(session, ThingChanged(), "thing:1")
    assert await changes(worker, since_ms=600_000) == {"changes": [], "position": FIRST - 1, "incarnation": 1}


async def test_a_raised_incarnation_shows_in_position_and_changes(
    database: Database, worker: httpx.AsyncClient
) -> None:
    await announce_and_publish(database, 1)
    await raise_incarnation(database)
    assert (await changes(worker, after=FIRST))["position"] == 2 * 10**12
    await announce_and_publish(database, 1)
    found = await changes(worker, after=FIRST)
    assert [one["seq"] for one in found["changes"]] == [2 * 10**12 + 1, 2 * 10**12 + 2]
    assert found["incarnation"] == 2


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=100000", "since_ms=-5", f"after={10**30}"])
async def test_a_wrong_query_is_refused(worker: httpx.AsyncClient, query: str) -> None:
    assert (await worker.get(f"/internal/changes?{query}")).status_code == 400


async def test_changes_are_for_services_that_may_read_them(database: Database) -> None:
    signer = Signer()
    app = create_app("shop", [changes_route(database, "shop")], verifier=signer.verifier())
    async with client_of(app) as client:
        assert (await client.get("/internal/changes")).status_code == 401
        assert (await client.get("/internal/changes", headers=signer.headers(role="admin"))).status_code == 403
        assert (await client.get("/internal/changes", headers=signer.service("bff-admin"))).status_code == 403

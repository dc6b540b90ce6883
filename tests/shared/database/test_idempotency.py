"""A request that is sent again with its Idempotency-Key has one effect and one answer."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import Conflict, IdempotencyKeyReused, Invalid, RequestInFlight
from tests.shared.database.shop import Thing

pytestmark = pytest.mark.anyio

HASH = request_hash("ana", "POST", "/v1/things", b'{"name": "one"}')


async def create(session: AsyncSession) -> Reply:
    session.add(Thing(name="one"))
    return Reply.of({"made": "one"}, headers={"Location": "/v1/things/1"})


async def things_in(database: Database) -> int:
    async with database.reading() as session:
        return (await session.execute(select(func.count()).select_from(Thing))).scalar_one()


async def test_a_repetition_gets_the_stored_answer(database: Database) -> None:
    first = await idempotent(database, "t1", "key-1", HASH, create)
    again = await idempotent(database, "t1", "key-1", HASH, create)
    assert (first.status, first.body) == (again.status, again.body) == (201, b'{"made":"one"}')
    assert again.headers == {"Location": "/v1/things/1", "Idempotency-Replayed": "true"}
    assert await things_in(database) == 1


async def test_keys_are_each_tenant_s_own(database: Database) -> None:
    await idempotent(database, "t1", "key-1", HASH, create)
    await idempotent(database, "t2", "key-1", HASH, create)
    await idempotent(database, "t2", None, HASH, create)
    assert await things_in(database) == 3


async def test_another_body_under_the_same_key_is_refused(database: Database) -> None:
    await idempotent(database, "t1", "key-1", HASH, create)
    for other in (
        request_hash("ana", "POST", "/v1/things", b"{}"),
        request_hash("ben", "POST", "/v1/things", b'{"name": "one"}'),
    ):
        with pytest.raises(IdempotencyKeyReused):
            await idempotent(database, "t1", "key-1", other, create)
    assert await things_in(database) == 1


async def test_of_two_at_once_one_is_told_that_the_other_is_under_way(database: Database) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(session: AsyncSession) -> Reply:
        entered.set()
        await go_on.wait()
        return await create(session)

    first = asyncio.create_task(idempotent(database, "t1", "key-1", HASH, slow))
    await entered.wait()
    with pytest.raises(RequestInFlight):
        await idempotent(database, "t1", "key-1", HASH, create)
    go_on.set()
    await first
    await idempotent(database, "t1", "key-1", HASH, create)
    assert await things_in(database) == 1


async def test_a_process_that_dies_half_way_leaves_the_key_free(database: Database) -> None:
    entered = asyncio.Event()

    async def hang(session: AsyncSession) -> Reply:
        await create(session)
        await session.flush()
        backend = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with database.writing() as other:
            await other.execute(text("SELECT pg_terminate_backend(:backend, 10000)"), {"backend": backend})
        entered.set()
        return await create(session)

    with pytest.raises(Exception, match="unavailable"):
        await idempotent(database, "t1", "key-1", HASH, hang)
    assert entered.is_set()
    await idempotent(database, "t1", "key-1", HASH, create)
    assert await things_in(database) == 1


async def test_a_refusal_is_not_remembered(database: Database) -> None:
    async def refuse(session: AsyncSession) -> Reply:
        await create(session)
        raise Conflict

    with pytest.raises(Conflict):
        await idempotent(database, "t1", "key-1", HASH, refuse)
    await idempotent(database, "t1", "key-1", HASH, create)
    assert await things_in(database) == 1


async def test_a_key_is_forgotten_when_it_has_expired(database: Database) -> None:
    await idempotent(database, "t1", "key-1", HASH, create)
    async with database.writing() as session:
        await session.execute(text("UPDATE shop.idempotency_keys SET expires_at = now() - interval '1 second'"))
    await idempotent(database, "t1", "key-1", request_hash("ana", "POST", "/", b""), create)
    assert await things_in(database) == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a\0", "x" * 256])
async def test_a_malformed_key_is_refused_by_name(database: Database, key: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await idempotent(database, "t1", key, HASH, create)
    assert refusal.value.errors[0].field == "Idempotency-Key"

"""One session per use case; a database that gives no answer is told as such."""

import asyncio

import pytest
from sqlalchemy import select, text

from cloudphone_shared.database import Database
from cloudphone_shared.errors import NotFound, Unavailable
from tests.servers import Postgres, free_port
from tests.shared.database.shop import Thing

pytestmark = pytest.mark.anyio


async def test_a_use_case_commits_as_a_whole_or_not_at_all(database: Database) -> None:
    with pytest.raises(NotFound):
        async with database.writing() as session:
            session.add(Thing(name="one"))
            await session.flush()
            raise NotFound
    async with database.writing() as session:
        session.add(Thing(name="two"))
    async with database.reading() as session:
        assert list(await session.scalars(select(Thing.name))) == ["two"]


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database(f"postgresql://postgres@127.0.0.1:{free_port()}/none", schema="shop", service="shop")
    with pytest.raises(Unavailable) as outage:
        async with database.writing():
            pass
    assert outage.value.service == "shop database"
    assert not await database.ready()


async def test_a_connection_lost_in_the_middle_is_an_outage_and_the_next_use_case_works(database: Database) -> None:
    with pytest.raises(Unavailable):
        async with database.writing() as session:
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with database.writing() as session:
        await session.execute(text("SELECT 1"))


async def test_connections_closed_while_idle_cost_no_request(database: Database) -> None:
    async def hold(_: int) -> None:
        async with database.reading() as session:
            await session.execute(text("SELECT pg_sleep(0.05)"))

    await asyncio.gather(*(hold(n) for n in range(4)))
    async with database.writing() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await asyncio.gather(*(hold(n) for n in range(4)))


async def test_who_finds_no_free_connection_is_told_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudphone_shared.database.engine.POOL_WAIT_SECONDS", 0.1)
    small = Database(database.url, schema="shop", service="shop", pool_size=1)
    async with small.reading():
        with pytest.raises(Unavailable):
            async with small.reading():
                pass
    assert await small.ready()
    await small.close()


async def test_a_statement_has_a_time_limit(database: Database) -> None:
    hasty = Database(database.url, schema="shop", service="shop", statement_timeout_ms=50)
    with pytest.raises(Unavailable):
        async with hasty.reading() as session:
            await session.execute(text("SELECT pg_sleep(5)"))
    await hasty.close()


async def test_sslmode_is_understood(postgres: Postgres, database: Database) -> None:
    lenient = Database(f"{database.url}?sslmode=prefer", schema="shop", service="shop")
    assert await lenient.ready()
    await lenient.close()

"""Reads of one statement: every id asked for has a row, one snapshot, and an outage is told as such."""

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa

from cloudphone_shared.database import Database, bump
from cloudphone_shared.database.reads import Statement, asked, columns, version_of
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.servers import free_port
from tests.shared.database.shop import Base, Thing

pytestmark = pytest.mark.anyio


def thing(key: object) -> str:
    return f"thing:{key}"


THINGS = Statement(
    sa.select(
        asked.c.id.label("asked"), version_of(Base.metadata, thing, asked.c.id).label("version"),
        *columns(Thing, ("id", "name"), "its_"),
    )
    .select_from(asked)
    .outerjoin(Thing, sa.and_(Thing.id == asked.c.id, Thing.name != sa.bindparam("hidden", type_=sa.Text())))
)  # fmt: skip
SLOW = Statement(sa.select(sa.func.pg_sleep(sa.bindparam("seconds", type_=sa.Float()))))
END_ALL = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
END_ASKING = END_ALL + " AND state = 'active' AND query LIKE '%pg_sleep%'"


async def made(database: Database, name: str) -> UUID:
    async with database.writing() as session:
        row = Thing(id=uuid7(), name=name)
        session.add(row)
        await bump(session, thing(row.id))
    return row.id


async def test_each_id_has_a_row_with_its_version_whether_it_is_there_or_not(database: Database) -> None:
    one, two, none = await made(database, "one"), await made(database, "two"), uuid7()
    rows = {row["asked"]: row for row in await database.rows(THINGS, ids=[one, none, two], hidden="two")}
    assert [rows[key]["its_name"] for key in (one, two, none)] == ["one", None, None]
    assert rows[one]["version"] == rows[two]["version"] > 0 == rows[none]["version"]


async def test_a_parameter_that_is_not_given_is_an_error(database: Database) -> None:
    with pytest.raises(KeyError):
        await database.rows(THINGS, ids=[])


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database(f"postgresql://postgres@127.0.0.1:{free_port()}/none", schema="shop", service="shop")
    with pytest.raises(Unavailable) as outage:
        await database.rows(THINGS, ids=[], hidden="")
    assert outage.value.service == "shop database"
    await database.close()


async def test_connections_closed_while_idle_cost_no_read(database: Database) -> None:
    await asyncio.gather(*(database.rows(SLOW, seconds=0.05) for _ in range(3)))
    async with database.writing() as session:
        await session.execute(sa.text(END_ALL))
    await asyncio.gather(*(database.rows(SLOW, seconds=0.0) for _ in range(3)))


async def test_a_connection_lost_while_asked_is_an_outage(database: Database) -> None:
    asking = asyncio.create_task(database.rows(SLOW, seconds=60.0))

    async def ended() -> bool:
        async with database.writing() as session:  # each sees the connections as they were when it first looked
            return (await session.execute(sa.text(END_ASKING))).all() == [(True,)]

    await eventually(ended)
    with pytest.raises(Unavailable):
        await asking

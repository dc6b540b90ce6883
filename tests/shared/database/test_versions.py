"""Every announced change raises its entities' versions, in the transaction that makes it."""

import asyncio
import random

import pytest
from sqlalchemy import select, text

from cloudphone_shared.database import (
    Announcement,
    Database,
    announce,
    announce_all,
    bump,
    raise_incarnation,
    versions_of,
)
from cloudphone_shared.http.context import request_id
from cloudphone_shared.ids import uuid7
from tests.shared.database.shop import Thing, ThingChanged

pytestmark = pytest.mark.anyio


async def test_a_version_starts_at_its_incarnation_and_rises_by_one(database: Database) -> None:
    for n in (1, 2, 3):
        async with database.writing() as session:
            assert await bump(session, "thing:1") == {"thing:1": 10**12 + n}
    async with database.reading() as session:
        assert await versions_of(session, "thing:1", "thing:2") == {"thing:1": 10**12 + 3, "thing:2": 0}


async def test_a_deleted_entity_keeps_its_version(database: Database) -> None:
    async with database.writing() as session:
        await announce(session, ThingChanged(), "thing:1", "things")
    async with database.writing() as session:
        versions = await announce(session, ThingChanged(), "things", deleted=["thing:1"])
    assert versions == {"thing:1": 10**12 + 2, "things": 10**12 + 2}
    async with database.reading() as session:
        assert (await versions_of(session, "thing:1"))["thing:1"] == 10**12 + 2
        gone = await session.execute(text("SELECT entity FROM shop.entity_versions WHERE deleted_at IS NOT NULL"))
        assert gone.scalars().all() == ["thing:1"]


async def test_a_change_that_is_rolled_back_announces_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.writing() as session:
            await announce(session, ThingChanged(), "thing:1")
            raise ZeroDivisionError
    async with database.reading() as session:
        assert await versions_of(session, "thing:1") == {"thing:1": 0}
        assert (await session.execute(text("SELECT count(*) FROM shop.outbox"))).scalar_one() == 0


async def test_changes_of_overlapping_entities_neither_deadlock_nor_lose_a_version(database: Database) -> None:
    entities = [f"thing:{n}" for n in range(6)] + ["thing:é", "thing:z", "Thing:z"]
    changes = [random.Random(n).sample(entities, 4) for n in range(120)]

    async def change(touched: list[str]) -> None:
        async with database.writing() as session:
            await announce(session, ThingChanged(), *touched)

    await asyncio.gather(*(change(touched) for touched in changes))
    async with database.reading() as session:
        versions = await versions_of(session, *entities)
    assert versions == {entity: 10**12 + sum(entity in touched for touched in changes) for entity in entities}


async def test_several_events_of_one_use_case_bump_an_entity_once_and_keep_their_order(database: Database) -> None:
    async with database.writing() as session:
        versions = await announce_all(
            session,
            [
                Announcement(event=ThingChanged(text="first"), entities=["b", "a"]),
                Announcement(event=ThingChanged(text="second"), entities=["a"], deleted=["c"]),
                Announcement(event=ThingChanged(text="third")),
            ],
        )
    assert versions == dict.fromkeys("abc", 10**12 + 1)
    async with database.reading() as session:
        rows = await session.execute(text("SELECT payload ->> 'text', entities FROM shop.outbox ORDER BY id"))
        assert [tuple(row) for row in rows] == [
            ("first", {"a": 10**12 + 1, "b": 10**12 + 1}),
            ("second", {"a": 10**12 + 1, "c": 10**12 + 1}),
            ("third", {}),
        ]


async def test_what_the_request_carried_travels_with_the_event(database: Database) -> None:
    tenant = uuid7()
    token = request_id.set("request-12345")
    try:
        async with database.writing() as session:
            await announce(session, ThingChanged(tenant_id=tenant, text='"\0\\ é'), "thing:1")
    finally:
        request_id.reset(token)
    async with database.reading() as session:
        row = (await session.execute(text("SELECT type, headers, CAST(payload AS text) FROM shop.outbox"))).one()
    assert row[0] == "shop.thing.changed"
    assert row[1] == {"tenant_id": str(tenant), "correlation_id": "request-12345"}
    assert '"text":"\\"\\u0000\\\\ é"' in row[2]


async def test_after_a_restore_all_versions_outnumber_the_lost_ones(database: Database) -> None:
    async with database.writing() as session:
        await announce(session, ThingChanged(), "thing:1")
    assert await raise_incarnation(database) == 2
    async with database.writing() as session:
        assert await announce(session, ThingChanged(), "thing:1", "thing:2") == {
            "thing:1": 2 * 10**12 + 1,
            "thing:2": 2 * 10**12 + 1,
        }


async def test_reading_is_one_snapshot_of_versions_and_data(database: Database) -> None:
    async with database.writing() as session:
        session.add(Thing(name="old"))
        await announce(session, ThingChanged(), "thing:1")
    async with database.reading() as reader:
        before = await versions_of(reader, "thing:1")
        async with database.writing() as writer:
            thing = (await writer.execute(select(Thing))).scalar_one()
            thing.name = "new"
            await announce(writer, ThingChanged(), "thing:1")
        assert (await reader.execute(select(Thing.name))).scalar_one() == "old"
        assert await versions_of(reader, "thing:1") == before


async def test_a_reading_session_refuses_to_write(database: Database) -> None:
    with pytest.raises(Exception, match="read-only"):
        async with database.reading() as session:
            await bump(session, "thing:1")
    async with database.writing() as session:  # and the connection it used writes again
        await bump(session, "thing:1")

"""An event has its effect once, however often it is delivered."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from cloudphone_shared.database import Busy, Database, announce, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.ids import uuid7
from tests.shared.database.shop import ThingChanged

pytestmark = pytest.mark.anyio


async def test_a_duplicate_is_known_once_the_effect_is_committed(database: Database) -> None:
    event = uuid7()
    seen: list[bool] = []
    for _ in range(3):
        async with database.writing() as session:
            seen.append(await first_time(session, "shop.things", event))
    async with database.writing() as session:
        seen.append(await first_time(session, "shop.others", event))
    assert seen == [True, False, False, True]


async def test_an_effect_that_failed_may_be_tried_again(database: Database) -> None:
    event = uuid7()
    with pytest.raises(ZeroDivisionError):
        async with database.writing() as session:
            assert await first_time(session, "shop.things", event)
            raise ZeroDivisionError
    async with database.writing() as session:
        assert await first_time(session, "shop.things", event)


async def test_a_duplicate_of_an_event_in_flight_is_sent_back(database: Database) -> None:
    event = uuid7()
    async with database.writing() as session:
        assert await first_time(session, "shop.things", event)
        with pytest.raises(Busy):
            async with database.writing() as other:
                await first_time(other, "shop.things", event)


async def test_of_many_deliveries_at_once_one_has_the_effect(database: Database) -> None:
    event = uuid7()
    effects = 0

    async def deliver() -> None:
        nonlocal effects
        while True:
            try:
                async with database.writing() as session:
                    if await first_time(session, "shop.things", event):
                        await session.execute(text("SELECT 1"))
                        effects += 1
                return
            except Busy:
                await asyncio.sleep(0)

    await asyncio.gather(*(deliver() for _ in range(8)))
    assert effects == 1


async def test_what_an_effect_announces_names_its_cause(database: Database) -> None:
    envelope = Envelope(
        event_id=uuid7(), type="user.updated", version=1, time=datetime.now(UTC), source="user", correlation_id="abc"
    )
    async with database.writing() as session:
        assert await first_time(session, "shop.things", envelope)
        await announce(session, ThingChanged(), "thing:1")
    async with database.reading() as session:
        headers = (await session.execute(text("SELECT headers FROM shop.outbox"))).scalar_one()
    assert headers == {"causation_id": str(envelope.event_id), "correlation_id": "abc"}

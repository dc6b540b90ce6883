"""The worker: what accounts announce goes out on the bus, and the clock's work is done beside it."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from cloudphone_core.user import worker
from cloudphone_core.user.models import RefreshTokenRow, SessionRow, SignInFailuresRow, SigningKeyRow
from cloudphone_shared import entities
from cloudphone_shared.bus import Delivery, connect
from cloudphone_shared.database import Database
from cloudphone_shared.events import Envelope
from tests.conditions import eventually
from tests.servers import Nats

from .conftest import AUTH, World

pytestmark = pytest.mark.anyio


async def test_what_is_announced_is_published_and_what_is_old_is_removed(
    world: World, database: Database, nats: Nats
) -> None:
    name = f"test.{uuid.uuid4().hex[:8]}"
    heard: list[Envelope] = []

    async def hear(envelope: Envelope, delivery: Delivery) -> None:
        heard.append(envelope)

    listener = connect(nats.url, name=name)
    listener.subscribe("test.users", ["user.#"], hear)
    await listener.start()
    ana = await world.user()
    tokens = await world.tokens(ana["email"])
    await world.login("nobody@example.com")
    long_ago = datetime.now(UTC) - timedelta(days=40)
    async with database.writing() as session:
        await session.execute(update(SessionRow).values(expires_at=long_ago))
        await session.execute(update(SignInFailuresRow).values(failed_at=long_ago))

    again = Database(database.url, schema=database.schema, service="user", pool_size=3)
    working = asyncio.create_task(
        worker.run(database=again, bus=connect(nats.url, name=name), auth=AUTH, tend_seconds=0.1)
    )
    try:
        await eventually(lambda: "user.created" in [one.type for one in heard])
        await eventually(lambda: is_empty(database, SessionRow, RefreshTokenRow, SignInFailuresRow))
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await listener.stop()

    created = next(one for one in heard if one.entities.get(entities.user(ana["id"])) == ana["version"])
    assert (created.type, created.source, created.tenant_id) == ("user.created", "user", ana["tenantId"])
    assert (await world.refresh(tokens["refreshToken"])).status_code == 401
    async with database.reading() as session:
        states = (await session.scalars(select(SigningKeyRow.state))).all()
    assert sorted(states) == ["active", "next"]


async def is_empty(database: Database, *tables: type) -> bool:
    async with database.reading() as session:
        return not sum([(await session.scalar(select(func.count()).select_from(table))) or 0 for table in tables])

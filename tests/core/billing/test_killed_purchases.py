"""kill -9 at every point of a purchase, on its way forward and on its way back: it ends as if nothing had happened."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from cloudphone_core.billing.sagas.models import SagaRow
from cloudphone_core.billing.sagas.purchase import Wanted
from cloudphone_shared.contracts.billing import OrderCreate
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from cloudphone_shared.ids import uuid7
from tests.conditions import eventually
from tests.core.billing.buying import PRICE, Market
from tests.core.billing.conftest import World
from tests.core.billing.dying_buyers import Errand
from tests.signing import Signer

pytestmark = pytest.mark.anyio
MANY = 100


class Buyers:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def send(self, errand: Errand) -> int:
        """How the process ended; at point 0, how many points there are."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(msgspec.json.encode(errand) + b"\n")
        async with asyncio.timeout(120):
            return int(await self._process.stdout.readline())


@asynccontextmanager
async def buyers(url: str) -> AsyncIterator[Buyers]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.core.billing.dying_buyers", url, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield Buyers(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def errand_of(market: Market, point: int, found: bool) -> Errand:
    saga_id, world = uuid7(), market.world
    wanted = Wanted(
        order=OrderCreate(plan_id=market.plan["id"]), order_id=uuid7(), payment_id=uuid7(),
        user=msgspec.structs.replace(world.ana, created_at=datetime.now(UTC)), device=None, actor="test",
    )  # fmt: skip
    given: dict[str, Any] = {"device_id": uuid7(), "allocation_id": uuid7(), "fencing_token": point}
    reply = DeviceAllocateReplied(
        saga_id=saga_id, tenant_id=world.acme, success=found, failure_reason=None if found else "all are taken",
        **(given if found else {}),
    )  # fmt: skip
    # As the wire would have it.
    return msgspec.convert(
        msgspec.to_builtins(Errand(point=point, saga_id=saga_id, wanted=wanted, reply=reply)), Errand
    )


async def finished(market: Market, errand: Errand) -> SagaRow | None:
    """By a worker that finds it as it was left; None where it had not even begun."""
    engine, database = market.engine(), market.world.database
    leased = sa.update(SagaRow).where(SagaRow.id == errand.saga_id, SagaRow.lease_token.is_not(None))

    async def row() -> SagaRow | None:
        async with database.reading() as session:
            return await session.get(SagaRow, errand.saga_id)

    async def over() -> bool:
        async with database.writing() as session:
            await session.execute(leased.values(wake_at=sa.func.clock_timestamp()))
        await engine.take_due(errand.saga_id)
        saga = await row()
        if saga is not None and saga.state == "waiting":
            await market.say(errand.reply)
        return saga is None or saga.state in ("completed", "compensated")

    await eventually(over, within=120)
    return await row()


@pytest.mark.parametrize("found", [True, False], ids=["forward", "compensating"])
async def test_a_purchase_killed_anywhere_is_finished_by_another_worker(
    world: World, signer: Signer, database_url: str, found: bool
) -> None:
    market = Market(world, signer)
    await market.open(money=MANY * PRICE)
    errands = [errand_of(market, 0, found)]
    async with buyers(database_url) as shop:
        points = await shop.send(errands[0])
        assert points > 15
        for point in range(1, points + 1):
            errands.append(errand_of(market, point, found))
            assert await shop.send(errands[-1]) == -signal.SIGKILL, point
    for errand in errands:
        saga = await finished(market, errand)
        assert saga is not None and saga.state == ("completed" if found else "compensated"), errand.point
        order = await market.order(errand.wanted.order_id) if saga.order_id else None
        if found:
            assert order and (order["state"], order["deviceId"]) == ("completed", str(errand.reply.device_id))
        else:
            assert order is None or order["state"] in ("failed", "cancelled")
        # What the killed process had reserved, another's book knows nothing of.
        assert world.owners.reservations.get(saga.id) in (None, "committed" if found else "released")
    spent = len(errands) * PRICE if found else 0
    assert await market.money() == (MANY * PRICE - spent, 0)
    captured = "SELECT count(*) FROM billing.transfers WHERE kind = 'purchase' AND state = 'posted' AND user_id = :user"
    assert [row[0] for row in await world.rows(captured, user=world.ana.id)] == [spent // PRICE]
    assert await market.released() == []

"""Purchases as the tests make them: with money, a scheduler that answers when it is told to, and a worker."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from cloudphone_core.billing.payments.service import Payments
from cloudphone_core.billing.sagas.engine import Engine
from cloudphone_core.billing.sagas.models import SagaRow
from cloudphone_core.billing.sagas.purchase import Shop, purchases
from cloudphone_core.billing.sagas.replies import hear_reply
from cloudphone_core.billing.sagas.steps import Pace
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.signing import Signer

QUICK = Pace(backoff=(0.01,), tries=3, alarm_after=2)
PRICE = 1999


class Market:
    """Ana, her wallet, and a plan she can buy with it."""

    def __init__(self, world: World, signer: Signer) -> None:
        self.world = world
        self.core = world.owners.clients(signer, "billing")
        self.plan: dict[str, Any] = {}

    def engine(self, **more: Any) -> Engine:
        payments = getattr(self.world, "payments", None) or Payments(self.world.database, lambda: self.world.now)
        shop = Shop(self.core, payments, lambda: self.world.now)
        return purchases(self.world.database, shop, pace=QUICK, **more)

    async def open(self, money: int = PRICE) -> None:
        self.plan = await self.world.plan(price=PRICE)
        if money:
            await self.world.fund(self.world.ana.id, money)

    async def buy(self, key: str | None = None, **fields: Any) -> Any:
        """The response."""
        headers = {**self.world.as_ana, **({"Idempotency-Key": key} if key else {})}
        body = {"planId": self.plan["id"], **fields}
        return await self.world.client.post("/v1/orders", headers=headers, json=body)

    async def saga(self, order_id: object) -> SagaRow:
        async with self.world.database.reading() as session:
            return (await session.scalars(sa.select(SagaRow).where(SagaRow.order_id == UUID(str(order_id))))).one()

    async def reply(self, saga_id: UUID, **fields: Any) -> DeviceAllocateReplied:
        """The scheduler's."""
        given = {"success": True, "device_id": uuid7(), "allocation_id": uuid7(), "fencing_token": 7, **fields}
        reply = DeviceAllocateReplied(saga_id=saga_id, tenant_id=self.world.acme, **given)
        await self.say(reply)
        return reply

    async def no_device(self, saga_id: UUID, reason: str = "all are taken") -> None:
        nothing = {"device_id": None, "allocation_id": None, "fencing_token": None}
        await self.reply(saga_id, success=False, failure_reason=reason, **nothing)

    async def say(self, reply: DeviceAllocateReplied) -> None:
        async with self.world.database.writing() as session:
            await hear_reply(session, reply, self.world.now)

    async def work(self, engine: Engine | None = None) -> None:
        """A worker does all that is due."""
        engine = engine or self.engine()
        while await engine.take_due():
            pass

    async def money(self) -> tuple[int, int]:
        """Of Ana's wallet: available, held."""
        sql = "SELECT available, held FROM billing.user_balances WHERE user_id = :user"
        rows = await self.world.rows(sql, user=self.world.ana.id)
        return (rows[0].available, rows[0].held) if rows else (0, 0)

    async def order(self, order_id: object) -> dict[str, Any]:
        return (await self.world.ok("GET", f"/v1/orders/{order_id}", self.world.admin))["data"]

    async def timeline(self, saga_id: UUID) -> list[tuple[str, str, str | None]]:
        full = (await self.world.ok("GET", f"/v1/sagas/{saga_id}", self.world.admin))["data"]
        return [(step["step"], step["direction"], step["outcome"]) for step in full["timeline"]]

    async def released(self) -> list[tuple[str, int]]:
        """Allocations that were given back, with their tokens."""
        sql = "SELECT payload FROM billing.outbox WHERE type = 'device.release' ORDER BY id"
        return [(row[0]["allocationId"], row[0]["fencingToken"]) for row in await self.world.rows(sql)]

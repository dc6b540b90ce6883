from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_core.billing.orders import service as orders
from cloudphone_core.billing.rating import charges
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World


class Rated:
    """Billing's world, with plans that have rules, subscriptions as purchases begin them, and the rating's rounds."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def rule(self, kind: str = "tiered", **definition: Any) -> dict[str, Any]:
        """In force since long ago."""
        body = {"name": "By the hour", "kind": kind, "currency": "USD", "definition": definition}
        body["validFrom"] = self.world.hour(-24 * 365)
        return (await self.world.ok("POST", "/v1/billing-rules", self.world.admin, body))["data"]

    async def hourly(self, rate: str | int) -> dict[str, Any]:
        return await self.rule(tiers=[{"upToHours": None, "rate": str(rate)}])

    async def subscribe(
        self, device_id: UUID, *, rule_id: str | None, since: float, hours: int = 0, days: int = 30, user: Any = None
    ) -> UUID:
        """Of Ana, from so many hours from now; the plan includes `hours`."""
        world, order_id = self.world, uuid7()
        plan = await world.plan(ruleId=rule_id, includedHours=hours, periodDays=days)
        at = world.now + timedelta(hours=since)
        user = user or world.ana
        device = world.owners.device(user.tenant_id, user.id, id=device_id)
        async with world.database.writing() as session:
            order = await orders.place(
                session, order_id=order_id, saga_id=None, plan_id=UUID(plan["id"]), user=user, device=device,
                coupon_code=None, payment_method="wallet", auto_renew=True, actor="test", at=at,
            )  # fmt: skip
            await orders.begin_provisioning(session, order, at)
            await orders.mark_paid(session, order, at)
            await orders.complete(session, order, at)
        return order_id

    async def rate(self) -> None:
        """Until nothing is left to be rated."""
        while await self._once():
            pass

    async def _once(self) -> int:
        async with self.world.database.writing() as session:
            return await charges.rate_due(session)

    async def charges(self, device_id: UUID) -> list[Any]:
        return await self.world.rows(
            "SELECT * FROM billing.charges WHERE device_id = :device ORDER BY started_at, id", device=device_id
        )

    async def invoice(self, user_id: UUID, until: datetime | None = None) -> Fraction:
        """Puts all that is open on a line, and says what it comes to."""
        async with self.world.database.writing() as session:
            found = await charges.open_charges(session, user_id, until or self.world.now + timedelta(days=99))
            if found:
                await charges.claim(session, uuid7(), {1: [one.id for one in found]})
            return worth(found)

    async def sql(self, statement: str, **parameters: object) -> None:
        async with self.world.database.writing() as session:
            await _run(session, statement, parameters)


async def _run(session: AsyncSession, statement: str, parameters: dict[str, object]) -> None:
    await session.execute(text(statement), parameters)


def worth(rows: Any) -> Fraction:
    """In minor units, exactly."""
    return sum((Fraction(Decimal(row.worth)) for row in rows), Fraction(0)) / 3600


@pytest.fixture
async def rated(world: World) -> AsyncIterator[Rated]:
    yield Rated(world)

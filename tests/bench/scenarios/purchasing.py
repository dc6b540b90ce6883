"""Purchases from wallets, eight at once: billing at its database; whom it asks answers at once."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any
from uuid import UUID

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting, of_tenant, wallet
from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.payments.service import Payments
from cloudphone_core.billing.plans import service as plans
from cloudphone_core.billing.sagas import purchase
from cloudphone_core.billing.sagas.buying import buy, saga_id_of
from cloudphone_core.billing.sagas.replies import hear_reply
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import OrderCreate, PlanCreate
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand

PURCHASES, WALLETS, AT_ONCE = 100, 1_000, 8


async def purchasing(stand: Stand, figures: Figures) -> None:
    """Each from the request to the subscription: five transactions, the reply of the scheduler among them."""
    count = stand.effort.less(PURCHASES, 16)
    url = await stand.postgres.database()
    await migrate(url, "billing")
    database = Database(url, schema=SCHEMA, service="billing", pool_size=AT_ONCE)
    try:
        shop = _Shop(database)
        await shop.open(stand.effort.less(WALLETS, 20))
        for _ in range(stand.effort.rounds):
            for name, users in (("hot", shop.users[:1]), ("spread", shop.users)):
                used = time.process_time()
                seconds = await _all(shop, list(islice(cycle(users), count)))
                figures.add(f"purchases_{name}_per_s", count / seconds, "1/s")
                figures.add(f"purchases_{name}_cpu_ms", 1e3 * (time.process_time() - used) / count, "ms")
    finally:
        await database.close()


async def _all(shop: "_Shop", users: Sequence[User]) -> float:
    waiting, began = iter(users), time.perf_counter()

    async def one_after_another() -> None:
        for user in waiting:
            await shop.sell(user)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


class _Willing:
    """The user service and the scheduler, as far as a purchase asks them."""

    def __init__(self) -> None:
        self.user = self.scheduler = self.identity = self

    async def token(self) -> str:
        return ""

    async def reserve_quota(self, wanted: Any) -> None: ...

    async def commit_quota(self, reservation_id: UUID) -> None: ...

    async def release_quota(self, reservation_id: UUID) -> None: ...

    async def confirm(self, allocation_id: Any, told: Any, bearer: Any) -> None: ...


class _Shop:
    def __init__(self, database: Database) -> None:
        self.database, self.tenant = database, uuid7()
        core: Any = _Willing()
        stands_on = purchase.Shop(core=core, payments=Payments(database, _now), now=_now)
        self.engine = purchase.purchases(database, stands_on)

    async def open(self, wallets: int) -> None:
        self.users = [_user(self.tenant) for _ in range(wallets)]
        async with self.database.writing() as session:
            self.plan, _ = await plans.create_plan(
                session, _caller(self.tenant, uuid7(), "all"), PlanCreate(name="Basic", price=1999), _now()
            )
        for user in self.users:
            async with self.database.writing() as session:
                await transfers.transfer(
                    session, key=str(uuid7()), kind="opening", reason="bench", reference=None, actor="bench", at=_now(),
                    postings=[
                        Posting(wallet(self.tenant, user.id, "USD"), 10**12),
                        Posting(of_tenant(self.tenant, "opening", "USD"), -(10**12)),
                    ],
                )  # fmt: skip

    async def sell(self, user: User) -> None:
        key, caller = str(uuid7()), _caller(self.tenant, user.id)
        asked = OrderCreate(plan_id=self.plan)
        await buy(self.database, self.engine, caller, key, asked, user, None, b"")
        saga_id = saga_id_of(caller.tenant_id, key)
        reply = DeviceAllocateReplied(
            saga_id=saga_id, tenant_id=self.tenant, success=True, device_id=uuid7(), allocation_id=uuid7(),
            fencing_token=1,
        )  # fmt: skip
        async with self.database.writing() as session:
            await hear_reply(session, reply, _now())
        await self.engine.take_due(saga_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _user(tenant_id: UUID) -> User:
    return User(
        id=uuid7(), tenant_id=tenant_id, tenant_name="Acme", name="Ana", email="ana@example.com", role="customer",
        data_scope="self", status="active", created_at=_now(), updated_at=_now(), version=1,
    )  # fmt: skip


def _caller(tenant_id: UUID, user_id: UUID, scope: Any = "self") -> Caller:
    return Caller(
        id=str(user_id), tenant_id=str(tenant_id), role="admin", kind="user", data_scope=scope, permissions=frozenset(),
        sessions_version=0, expires_at=0, token="",
    )  # fmt: skip

"""Money moved: transfers out of wallets, eight at once, beside the same rows inserted where nothing is promised."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting, of_tenant, wallet
from cloudphone_core.billing.models import SCHEMA
from cloudphone_shared.database import Database, migrate
from cloudphone_shared.events.billing import BalanceChanged
from cloudphone_shared.ids import uuid7
from tests.bench.figures import Figures
from tests.bench.stand import Stand

TRANSFERS, WALLETS, AT_ONCE = 2_000, 1_000, 8
Move = Callable[[UUID], Awaitable[object]]

_BARE = (
    "CREATE SCHEMA bare",
    "CREATE TABLE bare.transfers (LIKE billing.transfers INCLUDING DEFAULTS INCLUDING INDEXES)",
    "CREATE TABLE bare.entries (LIKE billing.entries INCLUDING DEFAULTS INCLUDING INDEXES)",
    "CREATE TABLE bare.outbox (LIKE billing.outbox INCLUDING ALL)",
)
_INSERT = text("""
WITH made AS (
    INSERT INTO bare.transfers (id, tenant_id, key, kind, state, currency, user_id, account_ids, amounts, reason,
        actor, created_at, settled_at)
    VALUES (:id, :tenant, :key, 'purchase', 'posted', 'USD', :user, :accounts, :amounts, 'bench', 'bench', :at, :at)
),
booked AS (
    INSERT INTO bare.entries (transfer_id, line, account_id, amount, number, balance_after, at)
    SELECT :id, line, account_id, amount, CASE line WHEN 1 THEN CAST(:number AS bigint) END,
        CASE line WHEN 1 THEN 0 END, :at
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:amounts AS bigint[])) WITH ORDINALITY AS l (account_id, amount, line)
)
INSERT INTO bare.outbox (event_id, type, version, entities, payload, headers)
VALUES (:id, 'balance.changed', 1, '{}', CAST(CAST(:payload AS text) AS json), '{}')
""")


async def transferring(stand: Stand, figures: Figures) -> None:
    """From a wallet to revenue and tax, announced: one transaction each. Rounds of the two alternate."""
    count = stand.effort.less(TRANSFERS, 40)
    async with _billing(stand) as database:
        bench = _Bench(database)
        await bench.prepare()
        for _ in range(stand.effort.rounds):
            for name, users in (("hot", bench.users[:1]), ("spread", bench.users)):
                for kind, move in (("transfers", bench.transfer), ("bare", bench.insert)):
                    used = time.process_time()
                    seconds = await _all(move, list(islice(cycle(users), count)))
                    figures.add(f"{kind}_{name}_per_s", count / seconds, "1/s")
                    figures.add(f"{kind}_{name}_cpu_us", 1e6 * (time.process_time() - used) / count, "µs")


async def _all(move: Move, users: Sequence[UUID]) -> float:
    waiting, began = iter(users), time.perf_counter()

    async def one_after_another() -> None:
        for user in waiting:
            await move(user)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


class _Bench:
    def __init__(self, database: Database) -> None:
        self.database, self.tenant = database, uuid7()
        self.users = [uuid7() for _ in range(WALLETS)]
        self.number = 0

    async def prepare(self) -> None:
        async with self.database.writing() as session:
            for statement in _BARE:
                await session.execute(text(statement))
        for user in self.users:
            await self.transfer(user, -(10**12))

    async def transfer(self, user: UUID, amount: int = 1000) -> None:
        async with self.database.writing() as session:
            await transfers.transfer(
                session, key=str(uuid7()), kind="purchase", postings=self._postings(user, amount), reason="bench",
                reference=None, actor="bench", at=datetime.now(UTC),
            )  # fmt: skip

    async def insert(self, user: UUID) -> None:
        """What a transfer leaves behind, but for the wallet's figures and the entity's version."""
        self.number += 1
        postings = self._postings(user, 1000)
        event = BalanceChanged(user_id=user, currency="USD", available=0, held=0, tenant_id=self.tenant)
        row: dict[str, Any] = {
            "id": uuid7(), "tenant": self.tenant, "key": str(uuid7()), "user": user, "number": self.number,
            "accounts": [account.id for account, _ in postings], "amounts": [amount for _, amount in postings],
            "at": datetime.now(UTC), "payload": msgspec.json.encode(event).decode(),
        }  # fmt: skip
        async with self.database.writing() as session:
            await session.execute(_INSERT, row)

    def _postings(self, user: UUID, amount: int) -> list[Posting]:
        tax = amount // 5
        return [
            Posting(wallet(self.tenant, user, "USD"), -amount),
            Posting(of_tenant(self.tenant, "revenue", "USD"), amount - tax),
            Posting(of_tenant(self.tenant, "tax", "USD"), tax),
        ]


@asynccontextmanager
async def _billing(stand: Stand) -> AsyncGenerator[Database]:
    url = await stand.postgres.database()
    await migrate(url, "billing")
    database = Database(url, schema=SCHEMA, service="billing", pool_size=AT_ONCE)
    yield database
    await database.close()

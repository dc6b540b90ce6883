"""Money moves whole, once, and never out of an empty wallet; the database sees to it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.models import TransferRow
from cloudphone_core.billing.ledger.transfers import Posting, of_tenant, wallet
from cloudphone_shared.errors import Conflict, InsufficientFunds, StateConflict
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World

pytestmark = pytest.mark.anyio


class Ledger:
    """A user's wallet, and what is moved to and from it."""

    def __init__(self, world: World, *, user_id: UUID | None = None, tenant_id: UUID | None = None) -> None:
        self.world, self.user_id, self.tenant_id = world, user_id or uuid7(), tenant_id or world.acme

    def postings(self, amount: int, currency: str = "USD") -> Sequence[Posting]:
        tax = amount // 5
        return [
            Posting(wallet(self.tenant_id, self.user_id, currency), amount),
            Posting(of_tenant(self.tenant_id, "revenue", currency), tax - amount),
            Posting(of_tenant(self.tenant_id, "tax", currency), -tax),
        ]

    async def transfer(self, amount: int, key: str | None = None, currency: str = "USD") -> TransferRow:
        async with self.world.database.writing() as session:
            return await transfers.transfer(session, **self.asked(amount, key, currency))

    async def hold(self, amount: int, key: str | None = None, expires_in: float | None = None) -> TransferRow:
        expires_at = None if expires_in is None else self.world.now + timedelta(seconds=expires_in)
        async with self.world.database.writing() as session:
            return await transfers.hold(session, **self.asked(-amount, key), expires_at=expires_at)

    async def post(self, key: str) -> TransferRow:
        async with self.world.database.writing() as session:
            return await transfers.post(session, key, tenant_id=self.tenant_id, at=self.world.now)

    async def void(self, key: str) -> TransferRow:
        async with self.world.database.writing() as session:
            return await transfers.void(session, key, tenant_id=self.tenant_id, reason="gone", at=self.world.now)

    async def stands(self) -> tuple[int, int]:
        """Available, held."""
        sql = "SELECT available, held FROM billing.user_balances WHERE user_id = :user"
        [(available, held)] = await self.world.rows(sql, user=self.user_id)
        return available, held

    def asked(self, amount: int, key: str | None, currency: str = "USD") -> dict[str, Any]:
        return {
            "key": key or str(uuid7()), "kind": "purchase" if amount < 0 else "recharge",
            "postings": self.postings(amount, currency), "reason": "testing", "reference": None, "actor": "test",
            "at": self.world.now,
        }  # fmt: skip


@pytest.fixture
def ledger(world: World) -> Ledger:
    return Ledger(world)


async def test_a_hold_is_posted_or_voided_once(ledger: Ledger) -> None:
    await ledger.transfer(1000)
    assert await ledger.stands() == (1000, 0)
    assert (await ledger.hold(300, "a")).state == "pending"
    await ledger.hold(200, "b")
    assert await ledger.stands() == (500, 500)
    for _ in range(2):
        assert (await ledger.post("a")).state == "posted"
        assert (await ledger.void("b")).state == "voided"
    assert await ledger.stands() == (700, 0)
    with pytest.raises(StateConflict):
        await ledger.post("b")
    with pytest.raises(StateConflict):
        await ledger.void("a")
    booked = await ledger.world.rows(
        "SELECT amount, balance_after, place FROM billing.balance_transactions WHERE user_id = :user ORDER BY place",
        user=ledger.user_id,
    )
    assert booked == [(1000, 1000, 1), (-300, 700, 2)]


async def test_a_key_moves_money_once(ledger: Ledger) -> None:
    first = await ledger.transfer(1000, "once")
    assert (await ledger.transfer(1000, "once")).id == first.id
    held = await ledger.hold(1000, "all of it")
    assert (await ledger.hold(1000, "all of it")).id == held.id
    assert await ledger.stands() == (0, 1000)
    with pytest.raises(Conflict):
        await ledger.transfer(999, "once")


async def test_a_wallet_is_never_overdrawn_and_the_transaction_goes_on(ledger: Ledger) -> None:
    await ledger.transfer(100)
    async with ledger.world.database.writing() as session:
        with pytest.raises(InsufficientFunds) as refused:
            await transfers.hold(session, **ledger.asked(-101, None), expires_at=None)
        assert refused.value.members == {"available": 100, "needed": 101, "currency": "USD"}
        await transfers.hold(session, **ledger.asked(-100, None), expires_at=None)
    assert await ledger.stands() == (0, 100)


async def test_what_was_held_for_too_long_is_given_back(ledger: Ledger) -> None:
    await ledger.transfer(100)
    await ledger.hold(60, "short", expires_in=10)
    await ledger.hold(30, "long", expires_in=1000)
    await transfers.expire_due(ledger.world.database, ledger.world.now + timedelta(seconds=10))
    assert await ledger.stands() == (70, 30)
    assert (await ledger.void("short")).state == "expired"
    with pytest.raises(StateConflict):
        await ledger.post("short")


MADE_BY_HAND = """
INSERT INTO billing.transfers (id, tenant_id, key, kind, state, currency, user_id, account_ids, amounts, reason, actor,
    created_at, settled_at)
SELECT gen_random_uuid(), tenant_id, 'x', kind, 'posted', {currency}, user_id, account_ids, {amounts}, '', '',
    now(), now()
FROM billing.transfers LIMIT 1
"""


BY_HAND = [
    "UPDATE billing.entries SET amount = amount + 1",
    "DELETE FROM billing.entries",
    "TRUNCATE billing.entries CASCADE",
    """INSERT INTO billing.entries (transfer_id, line, account_id, amount, at)
    SELECT id, 9, account_ids[2], 5, now() FROM billing.transfers LIMIT 1""",
    "DELETE FROM billing.transfers",
    "UPDATE billing.transfers SET amounts = ARRAY[1, -1, 0]",
    "UPDATE billing.transfers SET state = 'pending', settled_at = NULL",
    "UPDATE billing.accounts SET balance = balance + 1",
    "DELETE FROM billing.accounts",
    """INSERT INTO billing.accounts (id, tenant_id, kind, owner_id, currency, balance, opened_at, updated_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'wallet', gen_random_uuid(), 'USD', 5, now(), now())""",
    MADE_BY_HAND.format(currency="currency", amounts="ARRAY[7, -5, -1]"),
    MADE_BY_HAND.format(currency="'EUR'", amounts="amounts"),
]


async def test_no_hand_changes_what_was_booked(ledger: Ledger) -> None:
    await ledger.transfer(100)
    for by_hand in BY_HAND:
        with pytest.raises(DBAPIError):
            async with ledger.world.database.writing() as session:
                await session.execute(text(by_hand))
    assert await ledger.stands() == (100, 0)

"""Whatever moves at once, the books stay right; and whoever tampers with them is found out."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import anyio
import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.models import TransferRow
from cloudphone_core.billing.ledger.verifying import CHECKS, Verification, examine, verify
from cloudphone_deploy.cli import main
from cloudphone_shared.contracts.ledger import TrialBalance
from cloudphone_shared.errors import Conflict, InsufficientFunds, NotFound
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.billing.test_transfers import Ledger

pytestmark = pytest.mark.anyio

_untyped: Any = asyncpg
Step = tuple[str, int, int]
STEPS = st.tuples(
    st.sampled_from(["recharge", "pay", "hold", "hold", "hold", "post", "post", "void", "expire"]),
    st.integers(0, 4),
    st.integers(0, 60),
)
"""What, of which of five keys, how much."""


class Ended(Exception):
    """Rolls back what a test did."""


class Story:
    """One wallet, five keys, and what became of each."""

    def __init__(self, world: World) -> None:
        self.ledger, self.became = Ledger(world), dict[str, str]()
        self.name = uuid7().hex

    async def take(self, step: Step) -> None:
        what, number, amount = step
        key = f"{self.name} {number}"
        try:
            match what:
                case "recharge":
                    await self.ledger.transfer(amount)
                case "pay":
                    self.note(await self.ledger.transfer(-amount, f"{key} paid"))
                case "hold":
                    self.note(await self.ledger.hold(amount, key, expires_in=number))
                case "post":
                    self.note(await self.ledger.post(key))
                case "void":
                    self.note(await self.ledger.void(key))
                case _:
                    now = self.ledger.world.now + timedelta(seconds=number)
                    await transfers.expire_due(self.ledger.world.database, now)
        except (InsufficientFunds, Conflict, NotFound):
            pass

    def note(self, row: TransferRow) -> None:
        """What is settled stays as it is, whoever asks."""
        before = self.became.get(row.key, "pending")
        assert before in ("pending", row.state), f"{row.key} was {before} and is {row.state}"
        self.became[row.key] = row.state


@given(story=st.lists(st.tuples(STEPS, STEPS), min_size=3, max_size=12))
@settings(
    max_examples=12 if settings().max_examples <= 100 else 500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
async def test_any_two_at_once_leave_the_books_right(world: World, story: Sequence[tuple[Step, Step]]) -> None:
    told = Story(world)
    await told.ledger.transfer(100)
    for pair in story:
        await asyncio.gather(*(told.take(step) for step in pair))
        available, held = await told.ledger.stands()
        assert min(available, held) >= 0
    assert (await verify(world.database)).wrong == []


async def test_of_a_hundred_holds_on_a_wallet_good_for_ten_ten_succeed(world: World) -> None:
    ledger = Ledger(world)
    await ledger.transfer(1000)
    await world.open_connections(9)
    together = asyncio.Semaphore(9)

    async def hold() -> bool:
        async with together:
            try:
                await ledger.hold(100)
            except InsufficientFunds:
                return False
        return True

    assert sum(await asyncio.gather(*(hold() for _ in range(100)))) == 10
    assert await ledger.stands() == (0, 1000)
    assert (await verify(world.database)).wrong == []


async def test_a_wallet_that_several_open_at_once_has_what_all_of_them_bring(world: World) -> None:
    ledger = Ledger(world)
    await world.open_connections(9)
    await asyncio.gather(*(ledger.transfer(10) for _ in range(8)))
    assert await ledger.stands() == (80, 0)
    sql = "SELECT CAST(payload AS jsonb) ->> 'available' FROM billing.outbox WHERE entities ? :wallet"
    told = await world.rows(sql, wallet=f"balance:{ledger.user_id}")
    assert sorted(int(available) for (available,) in told) == [10, 20, 30, 40, 50, 60, 70, 80]


ADDS_UP, STATE, BELONGS, STAYS, BOOKED, CHAIN, NUMBERED, FIGURES, ADJUSTED = CHECKS
LATEST = "(SELECT id FROM billing.transfers WHERE user_id = '{user}' ORDER BY id DESC LIMIT 1)"
WALLET = "(SELECT id FROM billing.accounts WHERE owner_id = '{user}')"
TAMPERED = {
    "an amount of a transfer": (
        ADDS_UP,
        f"""ALTER TABLE billing.transfers DROP CONSTRAINT ck_transfers_adds_up;
        UPDATE billing.transfers SET amounts = ARRAY[-299, 240, 60] WHERE id = {LATEST}""",
    ),
    "a transfer's state": (
        STATE,
        f"""ALTER TABLE billing.transfers DROP CONSTRAINT ck_transfers_settled_at_some_time;
        UPDATE billing.transfers SET state = 'pending' WHERE id = {LATEST}""",
    ),
    "a transfer gone": (
        BELONGS,
        f"""ALTER TABLE billing.entries DROP CONSTRAINT fk_entries_transfer_id;
        DELETE FROM billing.transfers WHERE id = {LATEST}""",
    ),
    "another currency": (STAYS, f"UPDATE billing.transfers SET currency = 'EUR' WHERE id = {LATEST}"),
    "an account gone": (STAYS, f"DELETE FROM billing.accounts WHERE id = {WALLET}"),
    "a posted one made void": (BOOKED, f"UPDATE billing.transfers SET state = 'voided' WHERE id = {LATEST}"),
    "an entry gone": (BOOKED, f"DELETE FROM billing.entries WHERE transfer_id = {LATEST} AND line = 2"),
    "an entry of another amount": (
        BOOKED,
        f"UPDATE billing.entries SET amount = amount - 1 WHERE transfer_id = {LATEST} AND line = 2",
    ),
    "an entry at another time": (
        BOOKED,
        f"UPDATE billing.entries SET at = at - interval '1 day' WHERE transfer_id = {LATEST} AND line = 3",
    ),
    "a balance on the way": (
        CHAIN,
        f"UPDATE billing.entries SET balance_after = balance_after + 1 WHERE transfer_id = {LATEST} AND line = 1",
    ),
    "an entry's place": (CHAIN, f"UPDATE billing.entries SET number = 4 WHERE account_id = {WALLET} AND number = 3"),
    "a wallet once below zero": (
        CHAIN,
        f"""UPDATE billing.entries SET amount = -amount, balance_after = CASE number WHEN 1 THEN -1000
            WHEN 2 THEN -900 ELSE -600 END WHERE account_id = {WALLET}""",
    ),
    "a numbered entry of the tenant": (
        NUMBERED,
        f"UPDATE billing.entries SET number = 1, balance_after = 1 WHERE transfer_id = {LATEST} AND line = 2",
    ),
    "a wallet's balance": (FIGURES, f"UPDATE billing.accounts SET balance = balance + 1 WHERE id = {WALLET}"),
    "what a wallet holds": (FIGURES, f"UPDATE billing.accounts SET held = held + 1 WHERE id = {WALLET}"),
    "an adjustment of another amount": (ADJUSTED, "UPDATE billing.adjustments SET amount = amount + 1"),
}


async def test_a_tampered_row_is_named(world: World) -> None:
    """By a superuser who switched the triggers off, and constraints too where they stood in the way."""
    ledger = Ledger(world)
    for amount in (1000, -100, -300):
        latest = await ledger.transfer(amount)
    gift = {"amount": 5, "currency": "USD", "reason": "sorry"}
    given = await world.ok("POST", f"/v1/users/{world.ana.id}/adjustments", world.staff(world.acme), gift)
    own = {str(latest.id), str(latest.account_ids[0]), given["data"]["id"]}
    for what, (check, tampering) in TAMPERED.items():
        with pytest.raises(Ended):
            async with world.database.writing() as session:
                await session.execute(text("SET LOCAL session_replication_role = replica"))
                for statement in tampering.format(user=ledger.user_id).split(";"):
                    await session.execute(text(statement))
                named = {wrong.check: f"{wrong.row}: {wrong.says}" for wrong in (await examine(session)).wrong}
                assert any(row in named[check] for row in own), what
                raise Ended
    assert (await verify(world.database)).wrong == []


def test_the_command_line_reads_the_books(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDPHONE_BILLING_DATABASE_URL", database_url)
    main(["ledger", "verify"])
    printed = capsys.readouterr().out
    assert all(f"right  {check}" in printed for check in CHECKS)
    main(["ledger", "trial-balance", "--json"])
    assert msgspec.json.decode(capsys.readouterr().out, type=TrialBalance).balanced
    tamper = """INSERT INTO billing.accounts (id, tenant_id, kind, owner_id, currency, balance, opened_at, updated_at)
        SELECT id, id, 'wallet', id, 'USD', 7, now(), now() FROM gen_random_uuid() AS id"""
    repair = "DELETE FROM billing.accounts WHERE id = owner_id"
    for statements, code in ((tamper, 1), (repair, None)):
        anyio.run(by_superuser, database_url, statements)
        with pytest.raises(SystemExit) if code else nullcontext() as ended:
            main(["ledger", "verify", "--json"])
        assert (ended and ended.value.code) == code
        wrong = msgspec.json.decode(capsys.readouterr().out, type=Verification).wrong
        assert [each.check for each in wrong] == ([FIGURES] if code else [])


async def by_superuser(url: str, statements: str) -> None:
    connection = await _untyped.connect(url)
    await connection.execute(f"SET session_replication_role = replica; {statements}")
    await connection.close()

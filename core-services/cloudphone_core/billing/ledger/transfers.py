"""Moving money: every function in its caller's transaction, one statement each beside what it announces.

Call them after the caller's other rows are locked and as late as possible: the wallet is locked until the commit.
Each that changes a wallet announces `balance.changed`: at once, or by adding to `announcing`, a list that the caller
announces with its own (`announce_all`), which saves a round trip.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.ledger import AccountKind, TransferKind, TransferState
from cloudphone_shared.database import Announcement, Database, announce_all
from cloudphone_shared.errors import Conflict, InsufficientFunds, NotFound, StateConflict
from cloudphone_shared.events.billing import BalanceChanged
from cloudphone_shared.ids import uuid7

from .models import AccountRow, TransferRow

Announcing = list[Announcement]

BATCH = 100
"""So many holds at most are expired in one transaction."""


class Account(NamedTuple):
    """A place for money, not a row: that is made on first use. `owner_id` is the user of a wallet or receivable."""

    tenant_id: UUID
    kind: AccountKind
    owner_id: UUID | None
    currency: str

    @property
    def id(self) -> UUID:
        """Follows from what the account is, so nobody has to look it up."""
        place = f"{self.tenant_id}/{self.kind}/{self.owner_id or '-'}/{self.currency}"
        return UUID(bytes=sha256(place.encode()).digest()[:16])


class Posting(NamedTuple):
    """`amount` is signed: positive credits the account."""

    account: Account
    amount: int


def wallet(tenant_id: UUID, user_id: UUID, currency: str) -> Account:
    return Account(tenant_id, "wallet", user_id, currency)


def receivable(tenant_id: UUID, user_id: UUID, currency: str) -> Account:
    return Account(tenant_id, "receivable", user_id, currency)


def of_tenant(tenant_id: UUID, kind: AccountKind, currency: str) -> Account:
    return Account(tenant_id, kind, None, currency)


async def transfer(
    session: AsyncSession,
    *,
    key: str,
    kind: TransferKind,
    postings: Sequence[Posting],
    reason: str,
    reference: str | None,
    actor: str,
    at: datetime,
    announcing: Announcing | None = None,
) -> TransferRow:
    """Moves money now. Again with the same key and postings it returns the one that stands; with others: Conflict.

    Raises InsufficientFunds where a wallet would be overdrawn; the transaction goes on.
    """
    asked = _Asked(key, kind, postings, reason, reference, actor, at, None)
    return await _make(session, asked, "posted", announcing)


async def hold(
    session: AsyncSession,
    *,
    key: str,
    kind: TransferKind,
    postings: Sequence[Posting],
    reason: str,
    reference: str | None,
    actor: str,
    at: datetime,
    expires_at: datetime | None,
    announcing: Announcing | None = None,
) -> TransferRow:
    """Sets aside what the wallet is to pay, until it is posted, voided or expires. Otherwise as `transfer`."""
    asked = _Asked(key, kind, postings, reason, reference, actor, at, expires_at)
    return await _make(session, asked, "pending", announcing)


async def post(
    session: AsyncSession, key: str, *, tenant_id: UUID, at: datetime, announcing: Announcing | None = None
) -> TransferRow:
    """Moves what was held. Raises StateConflict for one that was voided or has expired, NotFound for none."""
    row = await _settle(session, tenant_id, key, "posted", None, at, announcing)
    if row.state != "posted":
        raise StateConflict(f"The transfer was {row.state}", current_state=row.state, allowed=[])
    return row


async def void(
    session: AsyncSession,
    key: str,
    *,
    tenant_id: UUID,
    reason: str,
    at: datetime,
    announcing: Announcing | None = None,
) -> TransferRow:
    """Gives back what was held; one that has expired stays so. Raises StateConflict for a posted one, NotFound for
    none."""
    row = await _settle(session, tenant_id, key, "voided", reason, at, announcing)
    if row.state == "posted":
        raise StateConflict("It was posted: only another transfer can return it", current_state="posted", allowed=[])
    return row


async def find(session: AsyncSession, tenant_id: UUID, key: str) -> TransferRow | None:
    return await session.scalar(
        select(TransferRow)
        .where(TransferRow.tenant_id == tenant_id, TransferRow.key == key)
        .execution_options(populate_existing=True)
    )


async def expire_due(database: Database, now: datetime) -> int:
    """Gives back what was held for too long. Returns how many; at most `BATCH` at once."""
    async with database.writing() as session:
        due = (await session.execute(_DUE, {"now": now, "batch": BATCH})).all()
        announcing: Announcing = []
        for tenant_id, key in due:
            await _settle(session, tenant_id, key, "expired", "held for too long", now, announcing)
        await announce_all(session, announcing)
    return len(due)


class _Asked:
    """What is to move, as the statement wants it: one line per account, the tenant's empty ones left out."""

    def __init__(
        self,
        key: str,
        kind: TransferKind,
        postings: Sequence[Posting],
        reason: str,
        reference: str | None,
        actor: str,
        at: datetime,
        expires_at: datetime | None,
    ) -> None:
        amounts: dict[Account, int] = {}
        for account, amount in postings:
            amounts[account] = amounts.get(account, 0) + amount
        self.key, self.kind = key, kind
        self.lines = {account: amount for account, amount in amounts.items() if amount or account.owner_id}
        [(self.tenant_id, self.currency)] = {(account.tenant_id, account.currency) for account in amounts}
        owners = {account.owner_id for account in amounts if account.owner_id}
        if sum(amounts.values()) or len(owners) > 1:
            raise ValueError(f"{key}: a transfer adds up to zero and concerns one user at most")
        self.user_id = next(iter(owners), None)
        self.change = next((amount for account, amount in self.lines.items() if account.kind == "wallet"), None)
        self.parameters: dict[str, Any] = {
            "id": uuid7(), "tenant": self.tenant_id, "key": key, "kind": kind, "currency": self.currency,
            "user": self.user_id, "accounts": [account.id for account in self.lines],
            "kinds": [account.kind for account in self.lines],
            "owners": [account.owner_id for account in self.lines],
            "amounts": list(self.lines.values()), "reason": reason, "reference": reference, "actor": actor, "at": at,
            "expires_at": expires_at, "taken": min(self.change or 0, 0),
        }  # fmt: skip

    def stands_as(self, row: TransferRow) -> bool:
        asked = {account.id: amount for account, amount in self.lines.items()}
        return row.kind == self.kind and dict(zip(row.account_ids, row.amounts, strict=True)) == asked


_COLUMNS = tuple(TransferRow.__table__.columns.keys())

_OWNED = """
    SELECT count(*) FILTER (WHERE kind = 'wallet') AS wallets,
        coalesce(max(balance) FILTER (WHERE kind = 'wallet'), 0) AS balance,
        coalesce(max(held) FILTER (WHERE kind = 'wallet'), 0) AS held
    FROM (
        SELECT kind, balance, held FROM billing.accounts
        WHERE id = ANY({accounts}) AND owner_id IS NOT NULL
        ORDER BY id FOR NO KEY UPDATE
    ) AS owned
"""

_MAKE = text(f"""
WITH line AS (
    SELECT * FROM unnest(
        CAST(:accounts AS uuid[]), CAST(:kinds AS text[]), CAST(:owners AS uuid[]), CAST(:amounts AS bigint[])
    ) AS line (account_id, kind, owner_id, amount)
),
opened AS (
    INSERT INTO billing.accounts (id, tenant_id, kind, owner_id, currency, balance, opened_at, updated_at)
    SELECT account_id, :tenant, kind, owner_id, :currency, CASE WHEN owner_id IS NOT NULL THEN 0 END, :at, :at
    FROM line WHERE NOT EXISTS (SELECT FROM billing.accounts WHERE id = account_id)
    ORDER BY account_id
    ON CONFLICT DO NOTHING
),
stood AS MATERIALIZED ({_OWNED.format(accounts="CAST(:accounts AS uuid[])")}),
made AS (
    INSERT INTO billing.transfers (
        id, tenant_id, key, kind, state, currency, user_id, account_ids, amounts, reason, reference, actor,
        created_at, expires_at, settled_at
    )
    SELECT :id, :tenant, :key, :kind, :state, :currency, :user, :accounts, :amounts, :reason, :reference, :actor,
        :at, CAST(:expires_at AS timestamptz), CAST(:settled_at AS timestamptz)
    FROM stood WHERE balance - held + CAST(:taken AS bigint) >= 0
    ON CONFLICT (tenant_id, key) DO NOTHING
    RETURNING *
)
SELECT stood.wallets, stood.balance, stood.held, made.* FROM stood LEFT JOIN made ON true
""")  # noqa: S608

_SETTLE = text(f"""
WITH found AS MATERIALIZED (
    SELECT * FROM billing.transfers WHERE tenant_id = :tenant AND key = :key FOR UPDATE
),
stood AS MATERIALIZED ({_OWNED.format(accounts="(SELECT account_ids FROM found)::uuid[]")}),
settled AS (
    UPDATE billing.transfers
    SET state = :state, settled_at = :at, settled_reason = CAST(:reason AS text)
    WHERE id = (SELECT id FROM found WHERE state = 'pending')
    RETURNING *
)
SELECT stood.balance, stood.held, settled.id IS NOT NULL AS now_settled,
    {", ".join(f"coalesce(settled.{name}, found.{name}) AS {name}" for name in _COLUMNS)}
FROM found CROSS JOIN stood LEFT JOIN settled ON true
""")  # noqa: S608

_DUE = text("""
SELECT tenant_id, key FROM billing.transfers
WHERE state = 'pending' AND expires_at <= :now
ORDER BY user_id, id LIMIT :batch FOR UPDATE SKIP LOCKED
""")


async def _make(
    session: AsyncSession, asked: _Asked, state: TransferState, announcing: Announcing | None
) -> TransferRow:
    await session.flush()
    settled_at = asked.parameters["at"] if state == "posted" else None
    found = (await session.execute(_MAKE, {**asked.parameters, "state": state, "settled_at": settled_at})).one()
    if found.id is None:
        return await _standing(session, asked, found.balance - found.held)
    row = _row(found)
    if asked.change is not None and asked.user_id is not None:
        if found.wallets:
            kept = -min(asked.change, 0) if state == "pending" else 0
            moved = asked.change if state == "posted" else 0
            await _tell(session, row, found.balance + moved, found.held + kept, announcing)
        else:
            await _tell(session, row, *await _opened(session, row), announcing)
    return row


async def _opened(session: AsyncSession, row: TransferRow) -> tuple[int, int]:
    """What a new wallet has: another transaction may have opened it too, unseen by the statement that made ours."""
    account_id = wallet(row.tenant_id, row.user_id, row.currency).id if row.user_id else None
    figures = select(AccountRow.balance, AccountRow.held).where(AccountRow.id == account_id)
    balance, held = (await session.execute(figures)).one()
    return balance or 0, held


async def _standing(session: AsyncSession, asked: _Asked, available: int) -> TransferRow:
    row = await find(session, asked.tenant_id, asked.key)
    if row is None:
        raise InsufficientFunds(available=available, needed=-asked.parameters["taken"], currency=asked.currency)
    if not asked.stands_as(row):
        raise Conflict("A transfer of this key moves something else")
    return row


async def _settle(
    session: AsyncSession,
    tenant_id: UUID,
    key: str,
    state: TransferState,
    reason: str | None,
    at: datetime,
    announcing: Announcing | None,
) -> TransferRow:
    await session.flush()
    asked = {"tenant": tenant_id, "key": key, "state": state, "reason": reason, "at": at}
    found = (await session.execute(_SETTLE, asked)).one_or_none()
    if found is None:
        raise NotFound("There is no such transfer")
    row = _row(found)
    change = _wallet_change(row)
    if found.now_settled and change is not None:
        moved = change if state == "posted" else 0
        await _tell(session, row, found.balance + moved, found.held + min(change, 0), announcing)
    return row


def _wallet_change(row: TransferRow) -> int | None:
    """None where the transfer touches no wallet."""
    if row.user_id is None:
        return None
    account_id = wallet(row.tenant_id, row.user_id, row.currency).id
    return dict(zip(row.account_ids, row.amounts, strict=True)).get(account_id)


async def _tell(
    session: AsyncSession, row: TransferRow, balance: int, held: int, announcing: Announcing | None
) -> None:
    if row.user_id is None:
        return
    event = BalanceChanged(
        user_id=row.user_id,
        currency=row.currency,
        available=balance - held,
        held=held,
        tenant_id=row.tenant_id,
    )
    announcement = Announcement(event=event, entities=[entities.balance(row.user_id)])
    if announcing is None:
        await announce_all(session, [announcement])
    else:
        announcing.append(announcement)


def _row(found: Any) -> TransferRow:
    """Not one of the session's: what is in it is written by the statements alone."""
    return TransferRow(**{name: getattr(found, name) for name in _COLUMNS})

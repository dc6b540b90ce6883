"""What billing answers about transfers, statements and the books. Each function wants a session of `reading()`."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.ledger import (
    Entry,
    Statement,
    Transaction,
    Transfer,
    TransferKind,
    TransferState,
    TrialBalance,
    TrialLine,
)
from cloudphone_shared.database.pagination import Cursors, Order, Sorts, equal, page, page_of_rows
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import FieldError, Invalid, NotFound
from cloudphone_shared.http.lists import ListQuery

from ..models import SCHEMA, Moment
from .models import AccountRow, EntryRow, TransferRow

_LINES = sa.Table(
    "balance_transactions",
    sa.MetaData(schema=SCHEMA),
    *(sa.Column(name, sa.Uuid(), nullable=False) for name in ("user_id", "tenant_id", "account_id", "transfer_id")),
    *(sa.Column(name, sa.Text()) for name in ("kind", "state", "currency", "reason", "reference")),
    *(sa.Column(name, sa.BigInteger()) for name in ("amount", "balance_after")),
    sa.Column("at", Moment, nullable=False),
    sa.Column("place", sa.BigInteger(), nullable=False),
)
_LINE = [_LINES.c[name] for name in Transaction.__struct_fields__]
_OLDEST_FIRST = [Order(_LINES.c.at), Order(_LINES.c.place), Order(_LINES.c.transfer_id)]
_NEWEST_FIRST = [msgspec.structs.replace(order, descending=True) for order in _OLDEST_FIRST]
_TRANSFERS = Sorts({"createdAt": TransferRow.created_at}, tiebreak=TransferRow.id, default="-createdAt")
_PLAIN = [name for name in Transfer.__struct_fields__ if name != "entries"]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """UTC days from `since` until before `until`; None: open on that side."""

    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.since and self.until and self.since > self.until:
            raise Invalid("since comes after until", errors=[FieldError(field="since", message="comes after until")])

    def holds(self, moment: sa.ColumnElement[datetime]) -> list[sa.ColumnElement[bool]]:
        conditions = [moment >= midnight(self.since)] if self.since else []
        return [*conditions, moment < midnight(self.until)] if self.until else conditions


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def transactions(
    session: AsyncSession,
    user_id: UUID,
    period: Period,
    asked: ListQuery,
    cursors: Cursors,
    *,
    currency: str | None,
    kind: TransferKind | None,
) -> Answer[Page[Transaction]]:
    """Of all the user's wallets, what is held among them."""
    wallets = await _wallets(session, user_id, currency)
    lines = sa.select(*_LINE).where(
        _LINES.c.account_id.in_(wallets), *period.holds(_LINES.c.at), *equal((_LINES.c.kind, kind))
    )
    found = await page_of_rows(
        session, lines, _NEWEST_FIRST, cursors=cursors, scope=f"transactions {user_id} {currency} {kind} {period}",
        cursor=asked.cursor, limit=asked.limit,
    )  # fmt: skip
    page_of = Page(items=[_transaction(row) for row in found.items], next_cursor=found.next_cursor)
    return Answer(data=page_of, entities=await versions_of(session, entities.balance(user_id)))


async def statement(
    session: AsyncSession,
    user_id: UUID,
    period: Period,
    asked: ListQuery,
    cursors: Cursors,
    *,
    currency: str,
    now: datetime,
) -> Answer[Statement]:
    """The present month's unless asked otherwise; oldest lines first."""
    since, until = _days(period, now)
    wallets = await _wallets(session, user_id, currency)
    opening, credited, debited = await _sums(session, wallets, since, until)
    found = await page_of_rows(
        session, _booked(wallets, since, until), _OLDEST_FIRST, cursors=cursors,
        scope=f"statement {user_id} {currency} {since} {until}", cursor=asked.cursor, limit=asked.limit,
    )  # fmt: skip
    shown = Statement(
        user_id=user_id,
        currency=currency,
        since=since,
        until=until,
        opening_balance=opening,
        credits=credited,
        debits=debited,
        closing_balance=opening + credited - debited,
        lines=[_transaction(row) for row in found.items],
        next_cursor=found.next_cursor,
    )
    return Answer(data=shown, entities=await versions_of(session, entities.balance(user_id)))


async def statement_lines(
    session: AsyncSession, user_id: UUID, period: Period, *, currency: str, now: datetime
) -> AsyncGenerator[Transaction]:
    """All of a statement's, a thousand in memory at a time."""
    wallets = await _wallets(session, user_id, currency)
    ordered = _booked(wallets, *_days(period, now)).order_by(*(order.clause() for order in _OLDEST_FIRST))
    rows = await session.stream(ordered, execution_options={"yield_per": 1000})
    async for row in rows:
        yield _transaction(row)


def _days(period: Period, now: datetime) -> tuple[date, date]:
    today = now.astimezone(UTC).date()
    until = period.until or max(today, period.since or today) + timedelta(days=1)
    since = period.since or min(today, until).replace(day=1)
    return since, until


async def _wallets(session: AsyncSession, user_id: UUID, currency: str | None) -> Sequence[UUID]:
    mine = sa.select(AccountRow.id).where(AccountRow.owner_id == user_id, AccountRow.kind == "wallet")
    return list(await session.scalars(mine.where(*equal((AccountRow.currency, currency)))))


def _booked(wallets: Sequence[UUID], since: date, until: date) -> sa.Select[Any]:
    within = Period(since=since, until=until).holds(_LINES.c.at)
    return sa.select(*_LINE).where(_LINES.c.account_id.in_(wallets), _LINES.c.balance_after.is_not(None), *within)


async def _sums(session: AsyncSession, wallets: Sequence[UUID], since: date, until: date) -> tuple[int, int, int]:
    mine = EntryRow.account_id.in_(wallets), EntryRow.number.is_not(None)
    last = (
        sa.select(EntryRow.balance_after)
        .where(*mine, EntryRow.at < midnight(since))
        .order_by(EntryRow.at.desc(), EntryRow.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    moved = sa.select(
        sa.func.coalesce(last, 0),
        sa.func.coalesce(sa.func.sum(EntryRow.amount).filter(EntryRow.amount > 0), 0),
        sa.func.coalesce(-sa.func.sum(EntryRow.amount).filter(EntryRow.amount < 0), 0),
    ).where(*mine, *Period(since=since, until=until).holds(EntryRow.at.expression))
    opening, credited, debited = (await session.execute(moved)).one()
    return int(opening), int(credited), int(debited)


def _transaction(row: Any) -> Transaction:
    return Transaction(**{name: getattr(row, name) for name in Transaction.__struct_fields__})


async def transfer_page(
    session: AsyncSession,
    caller: Caller,
    asked: ListQuery,
    cursors: Cursors,
    *,
    kind: TransferKind | None,
    state: TransferState | None,
    user_id: UUID | None,
) -> Answer[Page[Transfer]]:
    tenant_id = tenant_seen(caller)
    statement = sa.select(TransferRow).where(
        *equal(
            (TransferRow.tenant_id, tenant_id),
            (TransferRow.kind, kind),
            (TransferRow.state, state),
            (TransferRow.user_id, user_id),
        )
    )
    found = await page(
        session, statement, _TRANSFERS.parse(asked.sort), cursors=cursors,
        scope=f"transfers {tenant_id} {kind} {state} {user_id}", cursor=asked.cursor, limit=asked.limit,
    )  # fmt: skip
    items = await _with_entries(session, found.items)
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities={})


async def transfer(session: AsyncSession, caller: Caller, transfer_id: UUID) -> Answer[Transfer]:
    """Raises NotFound for another tenant's as well."""
    row = await session.get(TransferRow, transfer_id)
    if row is None or tenant_seen(caller) not in (None, row.tenant_id):
        raise NotFound("There is no such transfer")
    [found] = await _with_entries(session, [row])
    return Answer(data=found, entities={})


def tenant_seen(caller: Caller) -> UUID | None:
    """None: all of them."""
    return None if caller.data_scope == "all" else UUID(caller.tenant_id)


async def _with_entries(session: AsyncSession, rows: Sequence[TransferRow]) -> list[Transfer]:
    wanted = {account_id for row in rows for account_id in row.account_ids}
    accounts = {
        account.id: account for account in await session.scalars(sa.select(AccountRow).where(AccountRow.id.in_(wanted)))
    }
    booked = sa.select(EntryRow).where(EntryRow.transfer_id.in_(row.id for row in rows))
    after = {(entry.transfer_id, entry.account_id): entry.balance_after for entry in await session.scalars(booked)}
    return [_transfer(row, accounts, after) for row in rows]


def _transfer(
    row: TransferRow, accounts: dict[UUID, AccountRow], after: dict[tuple[UUID, UUID], int | None]
) -> Transfer:
    entries = [
        Entry(
            account_id=account_id,
            kind=accounts[account_id].kind,
            owner_id=accounts[account_id].owner_id,
            amount=amount,
            balance_after=after.get((row.id, account_id)),
        )
        for account_id, amount in zip(row.account_ids, row.amounts, strict=True)
    ]
    return Transfer(**{name: getattr(row, name) for name in _PLAIN}, entries=entries)


async def trial_balance(session: AsyncSession, tenant_id: UUID | None, until: datetime) -> TrialBalance:
    """Every kind of account of a tenant and currency, added up from its entries. None: of all tenants."""
    sums = (
        sa.select(
            EntryRow.account_id,
            sa.func.sum(EntryRow.amount).filter(EntryRow.amount > 0).label("credits"),
            sa.func.sum(EntryRow.amount).filter(EntryRow.amount < 0).label("debits"),
        )
        .where(EntryRow.at < until)
        .group_by(EntryRow.account_id)
        .subquery()
    )
    place = AccountRow.tenant_id, AccountRow.currency, AccountRow.kind
    lines = (
        sa.select(
            *place,
            sa.func.count().label("accounts"),
            sa.func.coalesce(sa.func.sum(sums.c.credits), 0).label("credits"),
            sa.func.coalesce(-sa.func.sum(sums.c.debits), 0).label("debits"),
        )
        .join(sums, sums.c.account_id == AccountRow.id)
        .where(*equal((AccountRow.tenant_id, tenant_id)))
        .group_by(*place)
        .order_by(*place)
    )
    found = [_trial_line(row) for row in await session.execute(lines)]
    totals: dict[tuple[UUID, str], int] = {}
    for line in found:
        totals[line.tenant_id, line.currency] = totals.get((line.tenant_id, line.currency), 0) + line.balance
    return TrialBalance(until=until, balanced=not any(totals.values()), lines=found)


def _trial_line(row: Any) -> TrialLine:
    credited, debited = int(row.credits), int(row.debits)
    return TrialLine(
        tenant_id=row.tenant_id,
        kind=row.kind,
        currency=row.currency,
        accounts=row.accounts,
        debits=debited,
        credits=credited,
        balance=credited - debited,
    )

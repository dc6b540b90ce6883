"""Budgets: a month's limit on a user's usage, told of once when it is nearly used and once when it is; and wallets
that run low."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.rating import Budget, BudgetSet, UserCost
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Announcement, Database, announce, announce_all, versions_of
from cloudphone_shared.events.billing import BalanceLow, BudgetReached, CostChanged

from ..periods import month_of
from .costs import budget_of, user_costs
from .models import BudgetRow

CHECKED_EVERY = timedelta(minutes=5)
"""What runs costs more by the second; what ends is checked when it is rated."""
BATCH = 100


async def set_budget(session: AsyncSession, user: User, new: BudgetSet, at: datetime) -> dict[str, int]:
    """Whether it is reached is found out anew."""
    month = month_of(at).start
    wanted = {
        "tenant_id": user.tenant_id, "amount": new.amount, "currency": new.currency, "warn_percent": new.warn_percent,
        "low_balance": new.low_balance, "month": month, "warned_at": None, "exceeded_at": None, "low_at": None,
        "checked_at": None, "updated_at": at,
    }  # fmt: skip
    row = insert(BudgetRow).values(user_id=user.id, **wanted)
    await session.execute(row.on_conflict_do_update(index_elements=[BudgetRow.user_id], set_=wanted))
    event = CostChanged(user_id=user.id, period_start=month, tenant_id=user.tenant_id)
    return await announce(session, event, entities.cost_of(user.id))


async def budget(session: AsyncSession, user_id: UUID, now: datetime) -> Answer[Budget | None]:
    row = await session.get(BudgetRow, user_id)
    found = None if row is None else budget_of(user_id, vars(row), month_of(now))
    return Answer(data=found, entities=await versions_of(session, entities.cost_of(user_id)))


async def check_soon(session: AsyncSession, user_ids: Iterable[UUID]) -> None:
    """What the users run was rated anew."""
    again = (
        update(BudgetRow)
        .where(BudgetRow.user_id.in_(sorted(set(user_ids))), BudgetRow.checked_at.is_not(None))
        .values(checked_at=None)
        .execution_options(synchronize_session=False)
    )
    await session.execute(again)


async def check_budgets(database: Database, now: datetime, every: timedelta = CHECKED_EVERY) -> int:
    """How many were looked at: those that waited longest. What is reached is told once a month."""
    async with database.reading() as session:
        waiting = (
            select(BudgetRow.user_id)
            .where(
                BudgetRow.amount.is_not(None),
                or_(BudgetRow.checked_at.is_(None), BudgetRow.checked_at <= now - every),
            )
            .order_by(BudgetRow.checked_at.nulls_first())
            .limit(BATCH)
        )
        user_ids = list(await session.scalars(waiting))
    if not user_ids:
        return 0
    costs = await user_costs(database, user_ids, now)
    async with database.writing() as session:
        locked = select(BudgetRow).where(BudgetRow.user_id.in_(user_ids)).order_by(BudgetRow.user_id)
        rows = await session.scalars(locked.with_for_update())
        await announce_all(session, [told for row in rows for told in _reached(row, costs[row.user_id].data, now)])
    return len(user_ids)


def _reached(row: BudgetRow, cost: UserCost, now: datetime) -> Iterable[Announcement]:
    if row.month != cost.period_start:
        row.month, row.warned_at, row.exceeded_at = cost.period_start, None, None
    row.checked_at = now
    if row.amount is None:
        return
    spent = cost.totals.get(row.currency, 0)
    if row.warned_at is None and row.warn_percent < 100 and spent * 100 >= row.amount * row.warn_percent:
        row.warned_at = now
        yield _told(row, row.warn_percent, spent, row.amount)
    if row.exceeded_at is None and spent >= row.amount:
        row.exceeded_at = now
        yield _told(row, 100, spent, row.amount)


def _told(row: BudgetRow, percent: int, spent: int, amount: int) -> Announcement:
    event = BudgetReached(
        user_id=row.user_id,
        percent=percent,
        spent=spent,
        amount=amount,
        currency=row.currency,
        tenant_id=row.tenant_id,
    )
    return Announcement(event=event, entities=[entities.cost_of(row.user_id)])


# Whose wallet fell below what they want to hear of, or is above again. Who has no wallet yet has nothing to fall.
_CROSSED = """
    SELECT b.user_id, a.balance - a.held AS available
    FROM billing.budgets AS b
    JOIN billing.accounts AS a ON a.owner_id = b.user_id AND a.kind = 'wallet' AND a.currency = b.currency
    WHERE b.low_balance IS NOT NULL AND (a.balance - a.held < b.low_balance) = (b.low_at IS NULL)
    ORDER BY b.user_id LIMIT :batch
    FOR UPDATE OF b SKIP LOCKED
"""


async def tell_low_balances(database: Database, now: datetime) -> int:
    """How many wallets crossed their threshold. One is told of once, until it was above again."""
    async with database.writing() as session:
        crossed = {row.user_id: row.available for row in await session.execute(text(_CROSSED), {"batch": BATCH})}
        if not crossed:
            return 0
        told: list[Announcement] = []
        for row in await session.scalars(select(BudgetRow).where(BudgetRow.user_id.in_(crossed))):
            if row.low_at is None and row.low_balance is not None:
                row.low_at = now
                event = BalanceLow(
                    user_id=row.user_id,
                    available=crossed[row.user_id],
                    threshold=row.low_balance,
                    currency=row.currency,
                    tenant_id=row.tenant_id,
                )
                told.append(Announcement(event=event))
            else:
                row.low_at = None
        await announce_all(session, told)
        return len(crossed)

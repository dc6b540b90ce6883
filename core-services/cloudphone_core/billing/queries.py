"""What billing answers in figures. Each function wants a session of `reading()`, or the writing
one that holds the row's lock."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import (
    BillingStatistics,
)
from cloudphone_shared.contracts.common import Answer

from .models import UsageRow
from .orders.models import OrderRow
from .orders.scope import within_scope

LATEST_ORDERS = 50
REVENUE_DAYS = timedelta(days=30)
_EARNED = "paid", "completed"


async def statistics(session: AsyncSession, caller: Caller, now: datetime) -> Answer[BillingStatistics]:
    scope = within_scope(caller)
    states = await session.execute(select(OrderRow.state, func.count()).where(*scope).group_by(OrderRow.state))
    by_state: dict[str, int] = {state: int(count) for state, count in states}
    earned = select(OrderRow.currency, func.sum(OrderRow.amount)).where(
        OrderRow.state.in_(_EARNED), OrderRow.created_at >= now - REVENUE_DAYS, *scope
    )
    revenue = {currency: int(total) for currency, total in await session.execute(earned.group_by(OrderRow.currency))}
    running = select(func.count()).select_from(UsageRow).where(UsageRow.stopped_at.is_(None))
    return Answer(
        data=BillingStatistics(
            orders=sum(by_state.values()),
            by_state=by_state,
            revenue_last_30_days=revenue,
            running_now=(await session.scalar(running.where(*within_scope(caller, UsageRow)))) or 0,
        ),
        entities={},
    )

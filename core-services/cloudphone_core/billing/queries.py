"""What billing answers about plans, orders and balances. Each function wants a session of `reading()`, or the writing
one that holds the row's lock."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import (
    Balance,
    BillingStatistics,
    Order,
    OrderEvent,
    OrderState,
    Plan,
)
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.database.pagination import Cursors, Sorts, containing, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import BalanceRow, OrderEventRow, OrderRow, PlanRow, UsageRow

LATEST_ORDERS = 50
REVENUE_DAYS = timedelta(days=30)
_EARNED = "paid", "completed"
_SORTS = Sorts(
    {
        "createdAt": OrderRow.created_at,
        "amount": OrderRow.amount,
        "state": OrderRow.state,
        "userName": OrderRow.user_name,
    },
    tiebreak=OrderRow.id,
    default="-createdAt",
)
_PLAN_SORTS = Sorts(
    {"name": PlanRow.name, "price": PlanRow.price, "active": PlanRow.active, "createdAt": PlanRow.created_at},
    tiebreak=PlanRow.id,
    default="-active,name",
)


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: OrderState | None
    user_id: UUID | None
    device_id: UUID | None
    plan_id: UUID | None
    tenant_id: UUID | None


async def plan_page(
    session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors, *, active: bool | None
) -> Answer[Page[Plan]]:
    """Customers are shown what is offered; who serves or sells sees all. Raises Invalid for an unknown sort,
    InvalidCursor.
    """
    offered = True if caller.data_scope == "self" else None
    statement = select(PlanRow).where(
        *equal((PlanRow.active, offered), (PlanRow.active, active)), *containing(asked.search, PlanRow.name)
    )
    found = await page(
        session,
        statement,
        _PLAN_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"plans {offered} {active} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, entities.plans(), *(entities.plan(row.id) for row in found.items))
    items = [_plan(row, shown) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def plan(session: AsyncSession, plan_id: UUID) -> Answer[Plan]:
    row = await session.get(PlanRow, plan_id)
    shown = await versions_of(session, entities.plan(plan_id))
    if row is None:
        raise NotFound(entities=shown)
    return Answer(data=_plan(row, shown), entities=shown)


async def order(session: AsyncSession, caller: Caller, order_id: UUID) -> Answer[Order]:
    row = await session.get(OrderRow, order_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound(entities=await versions_of(session, entities.order(order_id)))
    shown = await versions_of(session, entities.order(order_id), entities.plan(row.plan_id))
    return Answer(data=await _order(session, row, shown), entities=shown)


async def order_page(
    session: AsyncSession, caller: Caller, wanted: OrderFilter, asked: ListQuery, cursors: Cursors
) -> Page[UUID]:
    """The ids of a page, searched by a part of the user's name or e-mail address or of the device's name."""
    statement = select(OrderRow.id).where(
        *within_scope(caller),
        *equal(
            (OrderRow.state, wanted.state),
            (OrderRow.user_id, wanted.user_id),
            (OrderRow.device_id, wanted.device_id),
            (OrderRow.plan_id, wanted.plan_id),
            (OrderRow.tenant_id, wanted.tenant_id),
        ),
        *containing(asked.search, OrderRow.user_name, OrderRow.user_email, OrderRow.device_name),
    )
    scope = f"orders {wanted} {asked.search!r} for {caller.data_scope} {caller.tenant_id} {caller.id}"
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=scope,
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return Page(items=found.items, next_cursor=found.next_cursor)


async def balance(session: AsyncSession, user_id: UUID) -> Answer[Balance | None]:
    row = await session.get(BalanceRow, user_id)
    found = None
    if row is not None:
        found = Balance(
            user_id=user_id, currency=row.currency, available=row.available, held=row.held, updated_at=row.updated_at
        )
    return Answer(data=found, entities=await versions_of(session, entities.balance(user_id)))


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


def within_scope(caller: Caller, of: type[OrderRow] | type[UsageRow] = OrderRow) -> list[ColumnElement[bool]]:
    """The rows that the caller may see."""
    if caller.data_scope == "all":
        return []
    try:
        return [
            of.tenant_id == UUID(caller.tenant_id) if caller.data_scope == "tenant" else of.user_id == UUID(caller.id)
        ]
    except ValueError:
        return [false()]


def _plan(row: PlanRow, versions: dict[str, int]) -> Plan:
    return Plan(
        id=row.id,
        name=row.name,
        price=row.price,
        currency=row.currency,
        period_days=row.period_days,
        included_hours=row.included_hours,
        active=row.active,
        created_at=row.created_at,
        version=versions[entities.plan(row.id)],
    )


async def _order(session: AsyncSession, row: OrderRow, versions: dict[str, int]) -> Order:
    plan_name = await session.scalar(select(PlanRow.name).where(PlanRow.id == row.plan_id))
    steps = select(OrderEventRow).where(OrderEventRow.order_id == row.id).order_by(OrderEventRow.number)
    return Order(
        id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        user_name=row.user_name,
        user_email=row.user_email,
        device_id=row.device_id,
        device_name=row.device_name,
        plan_id=row.plan_id,
        plan_name=plan_name or "",
        amount=row.amount,
        currency=row.currency,
        state=row.state,
        created_at=row.created_at,
        updated_at=row.updated_at,
        history=[OrderEvent(state=step.state, reason=step.reason, at=step.at) for step in await session.scalars(steps)],
        version=versions[entities.order(row.id)],
    )

"""What billing answers about orders. Each function wants a session of `reading()`, or the writing one that holds the
row's lock."""

from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import Order, OrderEvent, OrderState
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.purchase import Subscription, SubscriptionState
from cloudphone_shared.database.pagination import Cursors, Sorts, containing, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from ..payments.models import PaymentRow
from ..plans.models import PlanRow
from . import facts
from .history import events_of
from .models import OrderEventRow, OrderRow, SubscriptionRow
from .scope import within_scope
from .words import says

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
_SUBSCRIPTION_SORTS = Sorts(
    {"createdAt": SubscriptionRow.created_at, "periodEnd": SubscriptionRow.period_end},
    tiebreak=SubscriptionRow.id,
    default="-createdAt",
)
_NOT_OF_THE_ROW = {"plan_name", "history", "version", "subscription", "checkout_url"}
_ORDER = tuple(name for name in Order.__struct_fields__ if name not in _NOT_OF_THE_ROW)


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: OrderState | None
    user_id: UUID | None
    device_id: UUID | None
    plan_id: UUID | None
    tenant_id: UUID | None


async def order(session: AsyncSession, caller: Caller, order_id: UUID) -> Answer[Order]:
    row = await session.get(OrderRow, order_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound(entities=await versions_of(session, entities.order(order_id)))
    names = [entities.order(order_id), entities.plan(row.plan_id)]
    if row.payment_method == "card" and row.payment_id is not None:
        names.append(entities.payment(row.payment_id))
    shown = await versions_of(session, *names)
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


class SubscriptionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: SubscriptionState | None
    user_id: UUID | None


async def subscription(session: AsyncSession, caller: Caller, subscription_id: UUID) -> Answer[Subscription]:
    """Raises NotFound for one that the caller may not see."""
    row = await session.get(SubscriptionRow, subscription_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound("There is no such subscription")
    shown = await versions_of(session, entities.order(row.order_id))
    return Answer(data=_subscription(row, shown), entities=shown)


async def subscription_page(
    session: AsyncSession, caller: Caller, wanted: SubscriptionFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Subscription]]:
    statement = select(SubscriptionRow).where(
        *within_scope(caller, SubscriptionRow),
        *equal((SubscriptionRow.state, wanted.state), (SubscriptionRow.user_id, wanted.user_id)),
    )
    found = await page(
        session,
        statement,
        _SUBSCRIPTION_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"subscriptions {wanted} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, *(entities.order(row.order_id) for row in found.items))
    items = [_subscription(row, shown) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def _order(session: AsyncSession, row: OrderRow, versions: dict[str, int]) -> Order:
    plan_name = await session.scalar(select(PlanRow.name).where(PlanRow.id == row.plan_id)) or ""
    begun = await session.scalar(select(SubscriptionRow).where(SubscriptionRow.order_id == row.id))
    by_card = row.payment_method == "card" and row.payment_id is not None
    payment = await session.get(PaymentRow, row.payment_id) if by_card else None
    return Order(
        **{name: getattr(row, name) for name in _ORDER},
        plan_name=plan_name,
        checkout_url=payment and payment.checkout_url,
        history=[_event(event, plan_name, row.currency) for event in await events_of(session, row.id)],
        version=versions[entities.order(row.id)],
        subscription=_subscription(begun, versions) if begun else None,
    )


def _event(row: OrderEventRow, plan_name: str, currency: str) -> OrderEvent:
    fact = facts.read(row.type, row.version, row.data)
    told = says(fact, reason=row.reason, plan_name=plan_name, currency=currency)
    return OrderEvent(state=row.state, reason=row.reason, at=row.at, says=told)


def _subscription(row: SubscriptionRow, versions: dict[str, int]) -> Subscription:
    """Its version is its order's: what changes one changes the other."""
    told = {name: getattr(row, name) for name in Subscription.__struct_fields__ if name != "version"}
    return Subscription(**told, version=versions[entities.order(row.order_id)])

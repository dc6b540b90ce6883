"""Subscriptions over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.purchase import (
    PlanChange,
    PlanChangeQuote,
    Subscription,
    SubscriptionPatch,
    SubscriptionState,
)
from cloudphone_shared.database import versions_of
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.errors import NotFound, StateConflict
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import check_version, expected_version

from ..handling import IfMatch, Key, Stand, UserId, Who, once, tagged, with_versions
from . import plan_changes, queries, renewals, subscriptions
from .models import OrderRow, SubscriptionRow

InState = Annotated[SubscriptionState | None, QueryParameter(name="state")]
ToPlan = Annotated[UUID, QueryParameter(name="planId")]


@get("/v1/subscriptions", guards=[requires("orders:read"), only_parameters("state", "userId")])
async def list_subscriptions(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: InState = None,
    user_id: UserId = None,
) -> Answer[Page[Subscription]]:
    wanted = queries.SubscriptionFilter(state=in_state, user_id=user_id)
    async with billing.database.reading() as session:
        return await queries.subscription_page(session, caller, wanted, asked, billing.cursors)


@get("/v1/subscriptions/{subscription_id:uuid}", guards=[requires("orders:read")])
async def get_subscription(
    subscription_id: FromPath[UUID], billing: Stand, caller: Who
) -> Response[Answer[Subscription]]:
    async with billing.database.reading() as session:
        return tagged(await queries.subscription(session, caller, subscription_id))


@patch("/v1/subscriptions/{subscription_id:uuid}", guards=[requires("orders:write")])
async def change_subscription(
    subscription_id: FromPath[UUID],
    data: JSONBody[SubscriptionPatch],
    billing: Stand,
    caller: Who,
    if_match: IfMatch = None,
) -> Response[Answer[Subscription]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        _, subscription = await _locked(session, caller, subscription_id, expected=expected)
        await subscriptions.renew_or_not(session, subscription, wanted=data.auto_renew)
        return tagged(await queries.subscription(session, caller, subscription_id))


@post("/v1/subscriptions/{subscription_id:uuid}/cancel", guards=[requires("orders:write")], status_code=200)
async def cancel_subscription(
    subscription_id: FromPath[UUID], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[Subscription]]:
    """At the end of its period."""
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        _, subscription = await _locked(session, caller, subscription_id, expected=expected)
        await subscriptions.renew_or_not(session, subscription, wanted=False)
        return tagged(await queries.subscription(session, caller, subscription_id))


@post("/v1/subscriptions/{subscription_id:uuid}/renew", guards=[requires("orders:write")], status_code=200)
async def renew_subscription(
    request: Request[Any, Any, Any], subscription_id: FromPath[UUID], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    """Now, once its period is over: in grace, or before the worker comes to it."""

    async def make(session: AsyncSession) -> Reply:
        purchase, subscription = await _locked(session, caller, subscription_id)
        await renewals.renew(session, purchase, subscription, billing.now(), caller.id)
        return await _changed(session, caller, purchase, subscription_id)

    return await once(request, billing, caller, key, make)


@get(
    "/v1/subscriptions/{subscription_id:uuid}/plan-change",
    guards=[requires("orders:read"), only_parameters("planId")],
)
async def quote_plan_change(
    subscription_id: FromPath[UUID], billing: Stand, caller: Who, plan_id: ToPlan
) -> Answer[PlanChangeQuote]:
    async with billing.database.writing() as session:
        row = await session.get(SubscriptionRow, subscription_id)
        if row is None or not caller.sees(row.tenant_id, row.user_id):
            raise NotFound("There is no such subscription")
        shown = await versions_of(session, entities.order(row.order_id), entities.plan(plan_id))
        return Answer(data=await plan_changes.quote(session, row, plan_id, billing.now()), entities=shown)


@post("/v1/subscriptions/{subscription_id:uuid}/plan-change", guards=[requires("orders:write")], status_code=200)
async def change_plan_of_subscription(
    request: Request[Any, Any, Any],
    subscription_id: FromPath[UUID],
    data: JSONBody[PlanChange],
    billing: Stand,
    caller: Who,
    key: Key = None,
    if_match: IfMatch = None,
) -> Response[Any]:
    expected = expected_version(if_match)

    async def make(session: AsyncSession) -> Reply:
        purchase, subscription = await _locked(session, caller, subscription_id, expected=expected)
        at = billing.now()
        await plan_changes.change_plan(session, purchase, subscription, data.plan_id, actor=caller.id, at=at)
        return await _changed(session, caller, purchase, subscription_id)

    return await once(request, billing, caller, key, make)


SUBSCRIPTIONS: list[ControllerRouterHandler] = [
    list_subscriptions, get_subscription, change_subscription, cancel_subscription, renew_subscription,
    quote_plan_change, change_plan_of_subscription,
]  # fmt: skip


async def locked_with(
    session: AsyncSession, caller: Caller, order_id: UUID, *, expected: int | None = None
) -> tuple[OrderRow, OrderRow, SubscriptionRow | None]:
    """Raises NotFound for an order that the caller may not see, PreconditionFailed."""
    seen = await session.get(OrderRow, order_id)
    if seen is None or not caller.sees(seen.tenant_id, seen.user_id):
        raise NotFound(entities=await versions_of(session, entities.order(order_id)))
    found = await subscriptions.locked_with(session, order_id)
    versions = await versions_of(session, entities.order(order_id))
    check_version(expected, versions[entities.order(order_id)])
    return found


async def money_of(session: AsyncSession, order: OrderRow) -> dict[str, int]:
    """What else changed where money moved: its caller's next read shows it."""
    user = order.user_id
    paid = [entities.payment(order.payment_id)] if order.payment_id else []
    of_user = (entities.balance(user), entities.payments_of(user), entities.orders_of(user))
    return await versions_of(session, *of_user, *paid)


async def _locked(
    session: AsyncSession, caller: Caller, subscription_id: UUID, *, expected: int | None = None
) -> tuple[OrderRow, SubscriptionRow]:
    seen = await session.get(SubscriptionRow, subscription_id)
    if seen is None or not caller.sees(seen.tenant_id, seen.user_id):
        raise NotFound("There is no such subscription")
    if str(seen.user_id) != caller.id:
        caller.require("orders:manage")
    _, purchase, subscription = await locked_with(session, caller, seen.order_id, expected=expected)
    if subscription is None or subscription.state == "ended":
        raise StateConflict("The subscription has ended", current_state="ended", allowed=[])
    return purchase, subscription


async def _changed(session: AsyncSession, caller: Caller, purchase: OrderRow, subscription_id: UUID) -> Reply:
    answer = await queries.subscription(session, caller, subscription_id)
    return Reply.of(with_versions(await money_of(session, purchase), answer), status=200)

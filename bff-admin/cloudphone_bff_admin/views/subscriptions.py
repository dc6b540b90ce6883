"""Subscriptions, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.purchase import PlanChangeQuote, Subscription
from cloudphone_shared.http.handling import Asked, Core, InSubscriptionState, OfUser, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/subscriptions",
    tags=["subscriptions"],
    guards=[staff("orders:read"), only_parameters("state", "userId")],
    responses=problems(),
)
async def list_subscriptions(
    core: Core, caller: Who, asked: Asked, present_state: InSubscriptionState = None, user_id: OfUser = None
) -> Page[Subscription]:
    """Subscriptions."""
    listing = asked.listing(state=present_state, userId=user_id)
    return await core.billing.subscriptions.page(listing, bearer=passing_on(caller))


@get(
    "/admin/subscriptions/{subscription_id:uuid}",
    tags=["subscriptions"],
    guards=[staff("orders:read")],
    responses=problems(404),
)
async def show_subscription(subscription_id: FromPath[UUID], core: Core, caller: Who) -> Subscription:
    """A subscription."""
    return await core.billing.subscriptions.one(subscription_id, bearer=passing_on(caller))


@get(
    "/admin/subscriptions/{subscription_id:uuid}/plan-change",
    tags=["subscriptions"],
    guards=[staff("orders:read")],
    responses=problems(404, 409),
)
async def quote_plan_change(
    subscription_id: FromPath[UUID], core: Core, caller: Who, plan_id: Annotated[UUID, QueryParameter(name="planId")]
) -> PlanChangeQuote:
    """What going over to another plan would cost now, or bring back."""
    return await core.billing.subscriptions.quote(subscription_id, plan_id, bearer=passing_on(caller))


SUBSCRIPTIONS = [list_subscriptions, show_subscription, quote_plan_change]

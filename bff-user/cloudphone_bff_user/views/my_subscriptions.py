"""The caller's subscriptions, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.purchase import PlanChangeQuote
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Asked, Core, InSubscriptionState, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..orders import MySubscription

_GUARDS = [requires("orders:read")]


@get(
    "/my/subscriptions",
    tags=["orders"],
    guards=[*_GUARDS, only_parameters("state")],
    responses=problems(),
)
async def list_my_subscriptions(
    core: Core, caller: Who, asked: Asked, present_state: InSubscriptionState = None
) -> Page[MySubscription]:
    """What the caller has subscribed to."""
    listing = asked.listing(state=present_state, userId=caller.id)
    page = await core.billing.subscriptions.page(listing, bearer=passing_on(caller))
    return Page(items=[MySubscription.of(each) for each in page.items], next_cursor=page.next_cursor)


@get("/my/subscriptions/{subscription_id:uuid}", tags=["orders"], guards=_GUARDS, responses=problems(404))
async def show_my_subscription(subscription_id: FromPath[UUID], core: Core, caller: Who) -> MySubscription:
    """One of the caller's subscriptions."""
    return MySubscription.of(await core.billing.subscriptions.one(subscription_id, bearer=passing_on(caller)))


@get(
    "/my/subscriptions/{subscription_id:uuid}/plan-change",
    tags=["orders"],
    guards=_GUARDS,
    responses=problems(404, 409),
)
async def quote_my_plan_change(
    subscription_id: FromPath[UUID],
    core: Core,
    caller: Who,
    plan_id: Annotated[UUID, QueryParameter(name="planId")],
) -> PlanChangeQuote:
    """What going over to another plan would cost now, or bring back."""
    return await core.billing.subscriptions.quote(subscription_id, plan_id, bearer=passing_on(caller))


SUBSCRIPTIONS = [list_my_subscriptions, show_my_subscription, quote_my_plan_change]

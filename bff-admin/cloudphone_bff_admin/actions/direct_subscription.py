"""What becomes of a customer's subscription: renewed or not, changed, ended."""

from uuid import UUID

from litestar import patch, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.purchase import PlanChange, Subscription, SubscriptionPatch
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("orders:manage")]
_ONE = "/admin/subscriptions/{subscription_id:uuid}"


@patch(_ONE, tags=["subscriptions"], guards=_GUARDS, responses=problems(404, 409, 412, 413, 415))
async def change_subscription(
    subscription_id: FromPath[UUID],
    data: JSONBody[SubscriptionPatch],
    core: Core,
    caller: Who,
    if_match: IfMatch = None,
) -> Subscription:
    """Switches its renewal on or off."""
    return await core.billing.subscriptions.change(subscription_id, data, passing_on(caller), if_match=if_match)


@post(f"{_ONE}/renew", status_code=200, tags=["subscriptions"], guards=_GUARDS, responses=problems(404, 409, 422))
async def renew_subscription(
    subscription_id: FromPath[UUID], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Subscription:
    """Pays for another period from its customer's wallet, once the present one is over."""
    bearer = passing_on(caller)
    return await core.billing.subscriptions.renew(subscription_id, bearer, idempotency_key=idempotency_key)


@post(f"{_ONE}/cancel", status_code=200, tags=["subscriptions"], guards=_GUARDS, responses=problems(404, 409, 412))
async def cancel_subscription(
    subscription_id: FromPath[UUID], core: Core, caller: Who, if_match: IfMatch = None
) -> Subscription:
    """Ends it with its present period: the device is then given back."""
    return await core.billing.subscriptions.cancel(subscription_id, passing_on(caller), if_match=if_match)


@post(
    f"{_ONE}/plan-change",
    status_code=200,
    tags=["subscriptions"],
    guards=_GUARDS,
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def change_subscribed_plan(
    subscription_id: FromPath[UUID],
    data: JSONBody[PlanChange],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Subscription:
    """Goes over to another plan now, on the customer's wallet."""
    return await core.billing.subscriptions.change_plan(
        subscription_id, data, passing_on(caller), idempotency_key=idempotency_key, if_match=if_match
    )


SUBSCRIBING = [change_subscription, renew_subscription, cancel_subscription, change_subscribed_plan]

"""What becomes of one of the caller's subscriptions: renewed or not, changed, ended."""

from uuid import UUID

from litestar import patch, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.purchase import PlanChange, SubscriptionPatch
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch
from cloudphone_shared.http.problems import problems

from ..orders import MySubscription

_GUARDS = [requires("orders:write")]
_ONE = "/my/subscriptions/{subscription_id:uuid}"


@patch(_ONE, tags=["orders"], guards=_GUARDS, responses=problems(404, 409, 412, 413, 415))
async def change_my_subscription(
    subscription_id: FromPath[UUID],
    data: JSONBody[SubscriptionPatch],
    core: Core,
    caller: Who,
    if_match: IfMatch = None,
) -> MySubscription:
    """Switches its renewal on or off."""
    changed = await core.billing.subscriptions.change(subscription_id, data, passing_on(caller), if_match=if_match)
    return MySubscription.of(changed)


@post(f"{_ONE}/renew", status_code=200, tags=["orders"], guards=_GUARDS, responses=problems(404, 409, 422))
async def renew_my_subscription(
    subscription_id: FromPath[UUID], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> MySubscription:
    """Pays for another period from the wallet, once the present one is over."""
    bearer = passing_on(caller)
    renewed = await core.billing.subscriptions.renew(subscription_id, bearer, idempotency_key=idempotency_key)
    return MySubscription.of(renewed)


@post(f"{_ONE}/cancel", status_code=200, tags=["orders"], guards=_GUARDS, responses=problems(404, 409, 412))
async def cancel_my_subscription(
    subscription_id: FromPath[UUID], core: Core, caller: Who, if_match: IfMatch = None
) -> MySubscription:
    """Ends it with its present period: the device is then given back."""
    return MySubscription.of(
        await core.billing.subscriptions.cancel(subscription_id, passing_on(caller), if_match=if_match)
    )


@post(
    f"{_ONE}/plan-change",
    status_code=200,
    tags=["orders"],
    guards=_GUARDS,
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def change_my_plan(
    subscription_id: FromPath[UUID],
    data: JSONBody[PlanChange],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> MySubscription:
    """Goes over to another plan now: the rest of the period is paid from the wallet, or comes back to it."""
    changed = await core.billing.subscriptions.change_plan(
        subscription_id, data, passing_on(caller), idempotency_key=idempotency_key, if_match=if_match
    )
    return MySubscription.of(changed)


SUBSCRIBING = [change_my_subscription, renew_my_subscription, cancel_my_subscription, change_my_plan]

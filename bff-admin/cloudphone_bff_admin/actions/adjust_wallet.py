"""Money given or taken by hand, with a reason; above a limit by two people."""

from uuid import UUID

from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.ledger import Adjustment, AdjustmentCreate, AdjustmentDecision
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, accepted, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("wallets:adjust")]
_WAITS = {202: ResponseSpec(Adjustment, description="It waits for a second person", generate_examples=False)}
_DECIDED = problems(404, 409, 413, 415)


@post(
    "/admin/users/{user_id:uuid}/adjustments",
    tags=["wallets"],
    guards=_GUARDS,
    responses=_WAITS | problems(404, 409, 413, 415, 422),
)
async def adjust_wallet(
    user_id: FromPath[UUID],
    data: JSONBody[AdjustmentCreate],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response[Adjustment]:
    """Gives to a user's wallet, or takes from it. Above the limit it waits until somebody else approves it."""
    done = await core.billing.ledger.adjust(user_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return (accepted if done.state == "waiting" else created)("/admin/adjustments", done)


@post(
    "/admin/adjustments/{adjustment_id:uuid}/approve",
    status_code=200,
    tags=["ledger"],
    guards=_GUARDS,
    responses=_DECIDED,
)
async def approve_adjustment(
    adjustment_id: FromPath[UUID], data: JSONBody[AdjustmentDecision], core: Core, caller: Who
) -> Adjustment:
    """Applies what somebody else asked for."""
    return await core.billing.ledger.decide(adjustment_id, data, passing_on(caller), approve=True)


@post(
    "/admin/adjustments/{adjustment_id:uuid}/reject",
    status_code=200,
    tags=["ledger"],
    guards=_GUARDS,
    responses=_DECIDED,
)
async def reject_adjustment(
    adjustment_id: FromPath[UUID], data: JSONBody[AdjustmentDecision], core: Core, caller: Who
) -> Adjustment:
    """Refuses what somebody else asked for: nothing moves."""
    return await core.billing.ledger.decide(adjustment_id, data, passing_on(caller), approve=False)


ADJUSTING = [adjust_wallet, approve_adjustment, reject_adjustment]

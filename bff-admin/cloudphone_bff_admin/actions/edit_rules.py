"""The editor of billing rules: made, tried on what was used, revised."""

from uuid import UUID

from litestar import Response, patch, post
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.rating import BillingRule, RuleCreate, RulePatch, RuleRevise, RuleTrial, UserCost
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("rules:manage")]


@post("/admin/billing-rules", tags=["rules"], guards=_GUARDS, responses=problems(409, 413, 415, 422))
async def create_billing_rule(
    data: JSONBody[RuleCreate], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[BillingRule]:
    """Makes a rule, which plans can name."""
    rule = await core.billing.rating.create_rule(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/billing-rules/{rule.id}", rule)


@post(
    "/admin/billing-rules/trial",
    status_code=200,
    tags=["rules"],
    guards=[staff("rules:read")],
    responses=problems(404, 413, 415),
)
async def try_billing_rule(data: JSONBody[RuleTrial], core: Core, caller: Who) -> UserCost:
    """What a definition would have charged for a user's running time of a month. Nothing is kept of it."""
    return await core.billing.rating.try_rule(data, passing_on(caller))


@patch(
    "/admin/billing-rules/{rule_id:uuid}",
    tags=["rules"],
    guards=_GUARDS,
    responses=problems(404, 409, 412, 413, 415),
)
async def change_billing_rule(
    rule_id: FromPath[UUID], data: JSONBody[RulePatch], core: Core, caller: Who, if_match: IfMatch = None
) -> BillingRule:
    """Renames a rule, or takes it out of use for new plans."""
    return await core.billing.rating.change_rule(rule_id, data, passing_on(caller), if_match=if_match)


@post(
    "/admin/billing-rules/{rule_id:uuid}/revisions",
    tags=["rules"],
    guards=_GUARDS,
    responses=problems(404, 409, 413, 415, 422),
)
async def revise_billing_rule(
    rule_id: FromPath[UUID],
    data: JSONBody[RuleRevise],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response[BillingRule]:
    """Gives a rule a new version: what began to run before stays rated as it was."""
    rule = await core.billing.rating.revise_rule(rule_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/billing-rules/{rule.id}", rule)


RULE_EDITING = [create_billing_rule, try_billing_rule, change_billing_rule, revise_billing_rule]

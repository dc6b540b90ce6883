"""What running time costs: the rules and their versions, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.rating import BillingRule, RuleKind, RuleRevision
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("rules:read")


@get("/admin/billing-rules", tags=["rules"], guards=[_READ, only_parameters("kind", "active")], responses=problems())
async def list_billing_rules(
    core: Core,
    caller: Who,
    asked: Asked,
    kind: Annotated[RuleKind | None, QueryParameter()] = None,
    active: Annotated[bool | None, QueryParameter()] = None,
) -> Page[BillingRule]:
    """Rules, each in its present version."""
    return await core.billing.rating.rules(asked.listing(kind=kind, active=active), bearer=passing_on(caller))


@get("/admin/billing-rules/{rule_id:uuid}", tags=["rules"], guards=[_READ], responses=problems(404))
async def show_billing_rule(rule_id: FromPath[UUID], core: Core, caller: Who) -> BillingRule:
    """A rule in its present version."""
    return await core.billing.rating.rule(rule_id, bearer=passing_on(caller))


@get("/admin/billing-rules/{rule_id:uuid}/revisions", tags=["rules"], guards=[_READ], responses=problems(404))
async def list_billing_rule_revisions(rule_id: FromPath[UUID], core: Core, caller: Who) -> list[RuleRevision]:
    """A rule's versions; a run is rated by the one in force when it began."""
    return await core.billing.rating.rule_revisions(rule_id, bearer=passing_on(caller))


RULES = [list_billing_rules, show_billing_rule, list_billing_rule_revisions]

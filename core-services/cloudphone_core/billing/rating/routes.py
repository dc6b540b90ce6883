"""Rules, costs, budgets, reports and runs' histories over HTTP, in URL order."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.invoice import RunHistory
from cloudphone_shared.contracts.rating import (
    BillingRule,
    Budget,
    BudgetSet,
    RuleCreate,
    RuleKind,
    RulePatch,
    RuleRevise,
    RuleRevision,
    RuleTrial,
    UserCost,
)
from cloudphone_shared.contracts.report import RevenueReport, UsageReport
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import expected_version

from .. import owners
from ..handling import IfMatch, Key, Stand, TenantId, Who, created, once, tagged, with_versions
from . import budgets, costs, queries, reports, rules, trial

OfKind = Annotated[RuleKind | None, QueryParameter(name="kind")]
Money = Annotated[str | None, QueryParameter(name="currency", pattern="^[A-Z]{3}$")]
Since = Annotated[date | None, QueryParameter(name="since", description="The first day, UTC")]
Until = Annotated[date | None, QueryParameter(name="until", description="The day after the last, UTC")]
By = Annotated[reports.By, QueryParameter(name="by")]
Format = Annotated[Literal["json", "csv"], QueryParameter(name="format")]
_REPORT = only_parameters("currency", "since", "until", "by", "tenantId", "format", paged=False)


@get("/v1/billing-rules", guards=[requires("rules:read"), only_parameters("kind", "active")])
async def list_rules(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    kind: OfKind = None,
    active: FromQuery[bool | None] = None,
) -> Answer[Page[BillingRule]]:
    async with billing.database.reading() as session:
        return await queries.rule_page(session, caller, asked, billing.cursors, kind=kind, active=active)


@post("/v1/billing-rules", guards=[requires("rules:manage")])
async def create_rule(
    request: Request[Any, Any, Any], data: JSONBody[RuleCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        rule_id, announced = await rules.create_rule(session, caller, data, billing.now())
        answer = await queries.rule(session, caller, rule_id)
        return created(f"/v1/billing-rules/{rule_id}", with_versions(announced, answer))

    return await once(request, billing, caller, key, make)


@post("/v1/billing-rules/trial", guards=[requires("rules:read")], status_code=200)
async def try_rule(data: JSONBody[RuleTrial], billing: Stand, caller: Who) -> Answer[UserCost]:
    await owners.user_named(billing.core, caller, data.user_id)
    async with billing.database.reading() as session:
        return Answer(data=await trial.try_rule(session, data, billing.now()), entities={})


@get("/v1/billing-rules/{rule_id:uuid}", guards=[requires("rules:read")])
async def get_rule(rule_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[BillingRule]]:
    async with billing.database.reading() as session:
        return tagged(await queries.rule(session, caller, rule_id))


@patch("/v1/billing-rules/{rule_id:uuid}", guards=[requires("rules:manage")])
async def change_rule(
    rule_id: FromPath[UUID], data: JSONBody[RulePatch], billing: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[BillingRule]]:
    expected = expected_version(if_match)
    async with billing.database.writing() as session:
        await rules.change_rule(session, caller, rule_id, data, expected=expected)
        return tagged(await queries.rule(session, caller, rule_id))


@get("/v1/billing-rules/{rule_id:uuid}/revisions", guards=[requires("rules:read")])
async def rule_revisions(rule_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[list[RuleRevision]]:
    async with billing.database.reading() as session:
        return await queries.revisions(session, caller, rule_id)


@post("/v1/billing-rules/{rule_id:uuid}/revisions", guards=[requires("rules:manage")])
async def revise_rule(
    request: Request[Any, Any, Any],
    rule_id: FromPath[UUID],
    data: JSONBody[RuleRevise],
    billing: Stand,
    caller: Who,
    key: Key = None,
    if_match: IfMatch = None,
) -> Response[Any]:
    expected = expected_version(if_match)

    async def make(session: AsyncSession) -> Reply:
        await rules.revise_rule(session, caller, rule_id, data, expected=expected, at=billing.now())
        return created(f"/v1/billing-rules/{rule_id}/revisions", await queries.rule(session, caller, rule_id))

    return await once(request, billing, caller, key, make)


@get("/v1/reports/revenue", guards=[requires("reports:read"), _REPORT])
async def revenue_report(
    billing: Stand,
    caller: Who,
    currency: Money = None,
    since: Since = None,
    until: Until = None,
    by: By = "day",
    tenant_id: TenantId = None,
    in_format: Format = "json",
) -> Response[Any]:
    asked = reports.asked_of(
        caller, since=since, until=until, by=by, currency=currency, tenant_id=tenant_id, now=billing.now()
    )
    async with billing.database.reading() as session:
        return _report(await reports.revenue(session, asked), in_format)


@get("/v1/reports/usage", guards=[requires("reports:read"), _REPORT])
async def usage_report(
    billing: Stand,
    caller: Who,
    currency: Money = None,
    since: Since = None,
    until: Until = None,
    by: By = "day",
    tenant_id: TenantId = None,
    in_format: Format = "json",
) -> Response[Any]:
    asked = reports.asked_of(
        caller, since=since, until=until, by=by, currency=currency, tenant_id=tenant_id, now=billing.now()
    )
    async with billing.database.reading() as session:
        return _report(await reports.usage(session, asked), in_format)


@get("/v1/runs/{run_id:uuid}/history", guards=[requires("usage:read")])
async def run_history(run_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[RunHistory]:
    async with billing.database.reading() as session:
        return await queries.run_history(session, caller, run_id)


@get("/v1/users/{user_id:uuid}/cost", guards=[requires("usage:read")])
async def cost_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[UserCost]:
    await owners.may_see_user(billing.core, caller, user_id)
    return await costs.user_cost(billing.database, user_id, billing.now())


@get("/v1/users/{user_id:uuid}/budget", guards=[requires("usage:read")])
async def budget_of(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[Budget | None]:
    await owners.may_see_user(billing.core, caller, user_id)
    async with billing.database.reading() as session:
        return await budgets.budget(session, user_id, billing.now())


@put("/v1/users/{user_id:uuid}/budget", guards=[requires("payments:write")])
async def set_budget(
    user_id: FromPath[UUID], data: JSONBody[BudgetSet], billing: Stand, caller: Who
) -> Answer[Budget | None]:
    user = await owners.user_named(billing.core, caller, user_id)
    async with billing.database.writing() as session:
        await budgets.set_budget(session, user, data, billing.now())
        return await budgets.budget(session, user_id, billing.now())


RATING: list[ControllerRouterHandler] = [
    list_rules, create_rule, try_rule, get_rule, change_rule, rule_revisions, revise_rule,
    revenue_report, usage_report, run_history, cost_of, budget_of, set_budget,
]  # fmt: skip


def _report(report: RevenueReport | UsageReport, in_format: str) -> Response[Any]:
    if in_format == "json":
        return Response(Answer(data=report, entities={}))
    return Response(
        reports.table(report.points, report.currency),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{report.since}-{report.until}.csv"'},
    )

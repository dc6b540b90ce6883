"""Figures for charts, from the billing service as they stand."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.report import RevenueReport, UsageReport
from cloudphone_shared.http.handling import Core, InCurrency, Since, Until, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form, in_form
from cloudphone_shared.http.problems import problems

from ..staff import staff

By = Annotated[Literal["day", "month"], QueryParameter(name="by", description="A point a day, or a month (UTC)")]
OfTenant = Annotated[UUID | None, QueryParameter(name="tenantId")]


async def _wanted(
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    by: By = "day",
    tenant_id: OfTenant = None,
) -> dict[str, Any]:
    return {"currency": currency, "since": since, "until": until, "by": by, "tenantId": tenant_id}


Wanted = NamedDependency[Mapping[str, Any]]
_GUARDS = [
    staff("reports:read"),
    only_parameters("currency", "since", "until", "by", "tenantId", "format", paged=False),
]
_WANTED = {"wanted": Provide(_wanted)}


@get(
    "/admin/reports/revenue",
    tags=["reports"],
    guards=_GUARDS,
    dependencies=_WANTED,
    responses=problems(),
    operation_class=AlsoTable,
)
async def show_revenue(core: Core, caller: Who, wanted: Wanted, form: Form = "json") -> Response[RevenueReport]:
    """What was earned, of what, with taxes and refunds apart, and by plan."""
    rating, bearer = core.billing.rating, passing_on(caller)
    return await in_form(
        form, lambda: rating.revenue(wanted, bearer=bearer), lambda: rating.revenue_table(wanted, bearer)
    )


@get(
    "/admin/reports/usage",
    tags=["reports"],
    guards=_GUARDS,
    dependencies=_WANTED,
    responses=problems(),
    operation_class=AlsoTable,
)
async def show_usage_report(core: Core, caller: Who, wanted: Wanted, form: Form = "json") -> Response[UsageReport]:
    """What ran, for how long, for how many, and what it was rated at."""
    rating, bearer = core.billing.rating, passing_on(caller)
    return await in_form(form, lambda: rating.usage(wanted, bearer=bearer), lambda: rating.usage_table(wanted, bearer))


REPORTS = [show_revenue, show_usage_report]

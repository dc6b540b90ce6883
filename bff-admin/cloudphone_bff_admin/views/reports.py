"""Figures for charts, from the billing service as they stand."""

from typing import Annotated, Literal
from uuid import UUID

from litestar import Response, get
from litestar.params import QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.report import RevenueReport, UsageReport
from cloudphone_shared.http.handling import Core, InCurrency, Since, Until, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form, in_form
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [
    staff("reports:read"),
    only_parameters("currency", "since", "until", "by", "tenantId", "format", paged=False),
]
By = Annotated[Literal["day", "month"], QueryParameter(name="by", description="A point a day, or a month (UTC)")]
OfTenant = Annotated[UUID | None, QueryParameter(name="tenantId")]


@get("/admin/reports/revenue", tags=["reports"], guards=_GUARDS, responses=problems(), operation_class=AlsoTable)
async def show_revenue(
    core: Core,
    caller: Who,
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    by: By = "day",
    tenant_id: OfTenant = None,
    form: Form = "json",
) -> Response[RevenueReport]:
    """What was earned, of what, with taxes and refunds apart, and by plan."""
    wanted = {"currency": currency, "since": since, "until": until, "by": by, "tenantId": tenant_id}
    rating, bearer = core.billing.rating, passing_on(caller)
    return await in_form(
        form, lambda: rating.revenue(wanted, bearer=bearer), lambda: rating.revenue_table(wanted, bearer)
    )


@get("/admin/reports/usage", tags=["reports"], guards=_GUARDS, responses=problems(), operation_class=AlsoTable)
async def show_usage_report(
    core: Core,
    caller: Who,
    currency: InCurrency = None,
    since: Since = None,
    until: Until = None,
    by: By = "day",
    tenant_id: OfTenant = None,
    form: Form = "json",
) -> Response[UsageReport]:
    """What ran, for how long, for how many, and what it was rated at."""
    wanted = {"currency": currency, "since": since, "until": until, "by": by, "tenantId": tenant_id}
    rating, bearer = core.billing.rating, passing_on(caller)
    return await in_form(form, lambda: rating.usage(wanted, bearer=bearer), lambda: rating.usage_table(wanted, bearer))


REPORTS = [show_revenue, show_usage_report]

"""Tax rates and what stands on a tenant's invoices, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.invoice import InvoiceTerms, TaxRate
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/tax-rates",
    tags=["invoices"],
    guards=[staff("invoices:read"), only_parameters("country")],
    responses=problems(),
)
async def list_tax_rates(
    core: Core,
    caller: Who,
    asked: Asked,
    country: Annotated[str | None, QueryParameter(pattern="^[A-Z]{2}$")] = None,
) -> Page[TaxRate]:
    """Rates by country; each holds until the country's next one."""
    return await core.billing.invoices.tax_rates(asked.listing(country=country), bearer=passing_on(caller))


@get(
    "/admin/tenants/{tenant_id:uuid}/invoice-terms",
    tags=["invoices"],
    guards=[staff("invoices:manage")],
    responses=problems(404),
)
async def show_invoice_terms(tenant_id: FromPath[UUID], core: Core, caller: Who) -> InvoiceTerms:
    """A tenant's days to pay, and who its invoices are from."""
    return await core.billing.invoices.terms(tenant_id, bearer=passing_on(caller))

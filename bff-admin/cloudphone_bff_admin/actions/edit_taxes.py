"""A country's next tax rate, and what stands on a tenant's invoices."""

from uuid import UUID

from litestar import Response, post, put
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import InvoiceTerms, InvoiceTermsSet, TaxRate, TaxRateCreate
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("invoices:manage")]


@post("/admin/tax-rates", tags=["invoices"], guards=_GUARDS, responses=problems(409, 413, 415, 422))
async def create_tax_rate(
    data: JSONBody[TaxRateCreate], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[TaxRate]:
    """Sets a country's rate from a day on."""
    rate = await core.billing.invoices.create_tax_rate(data, passing_on(caller), idempotency_key=idempotency_key)
    return created("/admin/tax-rates", rate)


@put(
    "/admin/tenants/{tenant_id:uuid}/invoice-terms",
    tags=["invoices"],
    guards=_GUARDS,
    responses=problems(404, 409, 413, 415),
)
async def set_invoice_terms(
    tenant_id: FromPath[UUID], data: JSONBody[InvoiceTermsSet], core: Core, caller: Who
) -> InvoiceTerms:
    """Sets a tenant's days to pay, and who its invoices are from, for invoices from now on."""
    return await core.billing.invoices.set_terms(tenant_id, data, passing_on(caller))


TAX_EDITING = [create_tax_rate, set_invoice_terms]

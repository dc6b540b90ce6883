"""Asking the billing service about invoices and taxes."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.invoice import (
    BillTo,
    BillToSet,
    CreditNoteCreate,
    Invoice,
    InvoiceIssue,
    InvoicePreview,
    InvoiceSummary,
    InvoiceTerms,
    InvoiceTermsSet,
    LineCharges,
    TaxRate,
    TaxRateCreate,
)
from ..http.client import ServiceClient, path_of
from ..http.streams import Flow
from .listing import Listing


class InvoiceClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[InvoiceSummary]:
        """Newest first. Filters: `userId`, `state`, `kind`, `tenantId`."""
        return await self.http.get("/v1/invoices", Page[InvoiceSummary], params=listing.params(), bearer=bearer)

    async def one(self, invoice_id: UUID | str, *, bearer: Bearer | None = None) -> Invoice:
        """Depends on `invoice:<id>`."""
        return await self.http.get(path_of("/v1/invoices/{}", invoice_id), Invoice, bearer=bearer)

    def pdf(self, invoice_id: UUID, bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        return self.http.flow("GET", path_of("/v1/invoices/{}/pdf", invoice_id), bearer=bearer)

    def table(self, invoice_id: UUID, bearer: Bearer) -> AbstractAsyncContextManager[Flow]:
        """Its lines as CSV."""
        return self.http.flow("GET", path_of("/v1/invoices/{}/csv", invoice_id), bearer=bearer)

    async def line_charges(
        self, invoice_id: UUID, number: int, listing: Listing, *, bearer: Bearer | None = None
    ) -> LineCharges:
        path = path_of("/v1/invoices/{}/lines/{}/charges", invoice_id, number)
        return await self.http.get(path, LineCharges, params=listing.params(), bearer=bearer)

    async def issue(self, wanted: InvoiceIssue, bearer: Bearer, *, idempotency_key: str | None = None) -> list[Invoice]:
        """One per currency; none where there is nothing to invoice."""
        return await self.http.send(
            "POST", "/v1/invoices", list[Invoice], wanted, bearer=bearer, idempotency_key=idempotency_key
        )

    async def preview(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> list[InvoicePreview]:
        """What `issue` would issue now, one per currency; none where there is nothing."""
        return await self.http.get(
            path_of("/v1/users/{}/invoice-preview", user_id), list[InvoicePreview], bearer=bearer
        )

    async def credit(
        self, invoice_id: UUID, note: CreditNoteCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> Invoice:
        """The credit note. Raises Conflict for more than is left of a line."""
        return await self.http.send(
            "POST", path_of("/v1/invoices/{}/credit-notes", invoice_id), Invoice, note,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def pay(self, invoice_id: UUID, bearer: Bearer, *, idempotency_key: str | None = None) -> Invoice:
        """From the wallet. Raises InsufficientFunds, StateConflict when nothing is due."""
        return await self.http.send(
            "POST", path_of("/v1/invoices/{}/pay", invoice_id), Invoice,
            bearer=bearer, idempotency_key=idempotency_key,
        )  # fmt: skip

    async def bill_to(self, user_id: UUID | str, *, bearer: Bearer | None = None) -> BillTo:
        return await self.http.get(path_of("/v1/users/{}/bill-to", user_id), BillTo, bearer=bearer)

    async def set_bill_to(self, user_id: UUID | str, bill_to: BillToSet, bearer: Bearer) -> BillTo:
        return await self.http.send("PUT", path_of("/v1/users/{}/bill-to", user_id), BillTo, bill_to, bearer=bearer)

    async def tax_rates(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[TaxRate]:
        """Filter: `country`."""
        return await self.http.get("/v1/tax-rates", Page[TaxRate], params=listing.params(), bearer=bearer)

    async def create_tax_rate(
        self, rate: TaxRateCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> TaxRate:
        return await self.http.send(
            "POST", "/v1/tax-rates", TaxRate, rate, bearer=bearer, idempotency_key=idempotency_key
        )

    async def terms(self, tenant_id: UUID, *, bearer: Bearer | None = None) -> InvoiceTerms:
        return await self.http.get(path_of("/v1/tenants/{}/invoice-terms", tenant_id), InvoiceTerms, bearer=bearer)

    async def set_terms(self, tenant_id: UUID, terms: InvoiceTermsSet, bearer: Bearer) -> InvoiceTerms:
        path = path_of("/v1/tenants/{}/invoice-terms", tenant_id)
        return await self.http.send("PUT", path, InvoiceTerms, terms, bearer=bearer)

"""Invoices: the list, documents, and what lines add up from, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, PathParameter, QueryParameter
from litestar.types import ASGIApp

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.invoice import InvoicePreview, InvoiceSummary, LineCharges, RunHistory
from cloudphone_shared.http.handling import Asked, Core, InInvoiceState, OfInvoices, OfUser, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import CSV, PDF, document
from cloudphone_shared.http.problems import problems

from ..staff import staff

_READ = staff("invoices:read")


@get(
    "/admin/invoices",
    tags=["invoices"],
    guards=[_READ, only_parameters("userId", "state", "kind", "tenantId")],
    responses=problems(),
)
async def list_invoices(
    core: Core,
    caller: Who,
    asked: Asked,
    user_id: OfUser = None,
    present_state: InInvoiceState = None,
    kind: OfInvoices = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
) -> Page[InvoiceSummary]:
    """Invoices and credit notes, newest first."""
    listing = asked.listing(userId=user_id, state=present_state, kind=kind, tenantId=tenant_id)
    return await core.billing.invoices.page(listing, bearer=passing_on(caller))


@get("/admin/invoices/{invoice_id:uuid}/pdf", tags=["invoices"], guards=[_READ], responses=PDF | problems(404))
async def show_invoice_pdf(invoice_id: FromPath[UUID], core: Core, caller: Who) -> ASGIApp:
    """An invoice as its customer is given it."""
    return document(core.billing.invoices.pdf(invoice_id, passing_on(caller)))


@get("/admin/invoices/{invoice_id:uuid}/csv", tags=["invoices"], guards=[_READ], responses=CSV | problems(404))
async def show_invoice_table(invoice_id: FromPath[UUID], core: Core, caller: Who) -> ASGIApp:
    """An invoice's lines as a table."""
    return document(core.billing.invoices.table(invoice_id, passing_on(caller)))


@get(
    "/admin/invoices/{invoice_id:uuid}/lines/{number:int}/charges",
    tags=["invoices"],
    guards=[_READ, only_parameters()],
    responses=problems(404),
)
async def list_line_charges(
    invoice_id: FromPath[UUID],
    number: Annotated[int, PathParameter(ge=1, le=1_000_000)],
    core: Core,
    caller: Who,
    asked: Asked,
) -> LineCharges:
    """The parts of runs that a line adds up from, in time order."""
    return await core.billing.invoices.line_charges(invoice_id, number, asked.listing(), bearer=passing_on(caller))


@get("/admin/users/{user_id:uuid}/invoice-preview", tags=["invoices"], guards=[_READ], responses=problems(404))
async def preview_invoices(user_id: FromPath[UUID], core: Core, caller: Who) -> list[InvoicePreview]:
    """What an invoice issued to the user now would say, per currency."""
    return await core.billing.invoices.preview(user_id, bearer=passing_on(caller))


@get("/admin/runs/{run_id:uuid}/history", tags=["usage"], guards=[staff("usage:read")], responses=problems(404))
async def show_run_history(run_id: FromPath[UUID], core: Core, caller: Who) -> RunHistory:
    """A run, from what it was charged down to the events that told of it."""
    return await core.billing.rating.run_history(run_id, bearer=passing_on(caller))


INVOICES = [list_invoices, show_invoice_pdf, show_invoice_table, list_line_charges, preview_invoices, show_run_history]

"""The caller's invoices: the list, documents, and what a line adds up from, from the billing service as they stand."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromPath, PathParameter
from litestar.types import ASGIApp

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.invoice import InvoicePreview
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Asked, Core, InInvoiceState, OfInvoices, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import CSV, PDF, document
from cloudphone_shared.http.problems import problems

from ..invoices import MyInvoiceSummary, MyLineCharges

_GUARDS = [requires("invoices:read")]


@get(
    "/my/invoices",
    tags=["invoices"],
    guards=[*_GUARDS, only_parameters("state", "kind")],
    responses=problems(),
)
async def list_my_invoices(
    core: Core, caller: Who, asked: Asked, present_state: InInvoiceState = None, kind: OfInvoices = None
) -> Page[MyInvoiceSummary]:
    """The caller's invoices and credit notes, newest first."""
    listing = asked.listing(state=present_state, kind=kind, userId=caller.id)
    page = await core.billing.invoices.page(listing, bearer=passing_on(caller))
    return Page(items=[MyInvoiceSummary.of(each) for each in page.items], next_cursor=page.next_cursor)


@get("/my/invoices/preview", tags=["invoices"], guards=_GUARDS, responses=problems())
async def preview_my_invoices(core: Core, caller: Who) -> list[InvoicePreview]:
    """What an invoice issued now would say, per currency."""
    return await core.billing.invoices.preview(caller.id, bearer=passing_on(caller))


@get("/my/invoices/{invoice_id:uuid}/pdf", tags=["invoices"], guards=_GUARDS, responses=PDF | problems(404))
async def show_my_invoice_pdf(invoice_id: FromPath[UUID], core: Core, caller: Who) -> ASGIApp:
    """An invoice to keep."""
    return document(core.billing.invoices.pdf(invoice_id, passing_on(caller)))


@get("/my/invoices/{invoice_id:uuid}/csv", tags=["invoices"], guards=_GUARDS, responses=CSV | problems(404))
async def show_my_invoice_table(invoice_id: FromPath[UUID], core: Core, caller: Who) -> ASGIApp:
    """An invoice's lines as a table."""
    return document(core.billing.invoices.table(invoice_id, passing_on(caller)))


@get(
    "/my/invoices/{invoice_id:uuid}/lines/{number:int}/charges",
    tags=["invoices"],
    guards=[*_GUARDS, only_parameters()],
    responses=problems(404),
)
async def list_my_line_charges(
    invoice_id: FromPath[UUID],
    number: Annotated[int, PathParameter(ge=1, le=1_000_000)],
    core: Core,
    caller: Who,
    asked: Asked,
) -> MyLineCharges:
    """The parts of runs that a line adds up from, in time order."""
    line = await core.billing.invoices.line_charges(invoice_id, number, asked.listing(), bearer=passing_on(caller))
    return MyLineCharges.of(line)


INVOICES = [list_my_invoices, preview_my_invoices, show_my_invoice_pdf, show_my_invoice_table, list_my_line_charges]

"""Invoices over HTTP, in URL order."""

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.invoice import (
    BillTo,
    BillToSet,
    CreditNoteCreate,
    Invoice,
    InvoiceIssue,
    InvoiceKind,
    InvoicePreview,
    InvoiceState,
    InvoiceSummary,
    InvoiceTerms,
    InvoiceTermsSet,
    LineCharges,
    TaxRate,
    TaxRateCreate,
)
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.idempotency import Reply
from cloudphone_shared.errors import Invalid, NotFound
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.streams import PIECE_BYTES
from cloudphone_shared.settings import Invoicing, load

from .. import owners
from ..handling import Key, Stand, TenantId, UserId, Who, created, once, tagged
from . import bill_to, crediting, issuing, reads, settling
from .bill_to import Customer
from .fonts import Fonts
from .pdf import pdf
from .table import table

Country = Annotated[str | None, QueryParameter(name="country")]
InState = Annotated[InvoiceState | None, QueryParameter(name="state")]
_PRINTING = asyncio.Semaphore(1)
OfKind = Annotated[InvoiceKind | None, QueryParameter(name="kind")]


@get("/v1/invoices", guards=[requires("invoices:read"), only_parameters("state", "kind", "userId", "tenantId")])
async def list_invoices(
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    in_state: InState = None,
    of_kind: OfKind = None,
    user_id: UserId = None,
    tenant_id: TenantId = None,
) -> Answer[Page[InvoiceSummary]]:
    wanted = reads.InvoiceFilter(user_id=user_id, tenant_id=tenant_id, state=in_state, kind=of_kind)
    async with billing.database.reading() as session:
        return await reads.invoice_page(session, caller, wanted, asked, billing.cursors)


@post("/v1/invoices", guards=[requires("invoices:manage")])
async def issue_invoices(
    request: Request[Any, Any, Any], data: JSONBody[InvoiceIssue], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    now = billing.now()
    until = data.until or now
    if until > now:
        raise Invalid("until cannot lie in the future", errors=[])

    async def make(session: AsyncSession) -> Reply:
        found = await issuing.issue(session, who, until, issuing.Occasion(actor=caller.id, at=now))
        answers = [await reads.invoice(session, caller, invoice.id) for invoice in found]
        shown = {entity: version for answer in answers for entity, version in answer.entities.items()}
        return Reply.of(
            Answer(data=[answer.data for answer in answers], entities=shown), status=201 if answers else 200
        )

    who = _customer(await owners.user_named(billing.core, caller, data.user_id))
    return await once(request, billing, caller, key, make)


@get("/v1/invoices/{invoice_id:uuid}", guards=[requires("invoices:read")])
async def get_invoice(invoice_id: FromPath[UUID], billing: Stand, caller: Who) -> Response[Answer[Invoice]]:
    async with billing.database.reading() as session:
        return tagged(await reads.invoice(session, caller, invoice_id))


@get("/v1/invoices/{invoice_id:uuid}/pdf", guards=[requires("invoices:read")])
async def get_pdf(invoice_id: FromPath[UUID], billing: Stand, caller: Who) -> Stream:
    async with billing.database.reading() as session:
        printed = await reads.printed(session, caller, invoice_id)
    # One after another: each takes a core for as long as it takes.
    async with _PRINTING:
        body = await asyncio.to_thread(pdf, printed, _fonts())
    return Stream(_pieces(body), media_type="application/pdf", headers=_named(f"{printed.invoice.number}.pdf"))


@get("/v1/invoices/{invoice_id:uuid}/csv", guards=[requires("invoices:read")])
async def get_csv(invoice_id: FromPath[UUID], billing: Stand, caller: Who) -> Stream:
    async with billing.database.reading() as session:
        row = await reads.visible(session, caller, invoice_id)

    async def pieces() -> AsyncIterator[bytes]:
        async with billing.database.reading() as session:
            async for piece in table(row.number, row.currency, reads.lines_of(session, invoice_id)):
                yield piece

    return Stream(pieces(), media_type="text/csv; charset=utf-8", headers=_named(f"{row.number}.csv"))


@get("/v1/invoices/{invoice_id:uuid}/lines/{number:int}/charges", guards=[requires("invoices:read"), only_parameters()])
async def list_charges(
    invoice_id: FromPath[UUID],
    number: FromPath[int],
    billing: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
) -> Answer[LineCharges]:
    async with billing.database.reading() as session:
        return await reads.line_charges(session, caller, invoice_id, number, asked, billing.cursors)


@post("/v1/invoices/{invoice_id:uuid}/credit-notes", guards=[requires("invoices:manage")])
async def credit_invoice(
    request: Request[Any, Any, Any],
    invoice_id: FromPath[UUID],
    data: JSONBody[CreditNoteCreate],
    billing: Stand,
    caller: Who,
    key: Key = None,
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        note = await crediting.credit(session, caller, invoice_id, data, billing.now())
        return created(f"/v1/invoices/{note.id}", await reads.invoice(session, caller, note.id))

    return await once(request, billing, caller, key, make)


@post("/v1/invoices/{invoice_id:uuid}/pay", guards=[requires("payments:write")])
async def pay_invoice(
    request: Request[Any, Any, Any], invoice_id: FromPath[UUID], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        await settling.pay(session, caller, invoice_id, billing.now())
        return Reply.of(await reads.invoice(session, caller, invoice_id), status=200)

    return await once(request, billing, caller, key, make)


@get("/v1/users/{user_id:uuid}/invoice-preview", guards=[requires("invoices:read")])
async def preview_invoices(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[list[InvoicePreview]]:
    who = await _visible(billing, caller, user_id)
    # Usage that was heard of and not yet rated is rated for it: so it writes.
    async with billing.database.writing() as session:
        return await reads.preview(session, who, billing.now())


@get("/v1/users/{user_id:uuid}/bill-to", guards=[requires("invoices:read")])
async def get_bill_to(user_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[BillTo]:
    who = await _visible(billing, caller, user_id)
    async with billing.database.reading() as session:
        return await bill_to.shown_bill_to(session, who, billing.now())


@put("/v1/users/{user_id:uuid}/bill-to", guards=[requires("payments:write")])
async def set_bill_to(
    user_id: FromPath[UUID], data: JSONBody[BillToSet], billing: Stand, caller: Who
) -> Answer[BillTo]:
    who = await _visible(billing, caller, user_id)
    async with billing.database.writing() as session:
        await bill_to.set_bill_to(session, who, data, billing.now())
        return await bill_to.shown_bill_to(session, who, billing.now())


@get("/v1/tax-rates", guards=[requires("invoices:read"), only_parameters("country")])
async def list_tax_rates(
    billing: Stand, asked: NamedDependency[ListQuery], country: Country = None
) -> Answer[Page[TaxRate]]:
    async with billing.database.reading() as session:
        found = await bill_to.tax_rate_page(session, asked, billing.cursors, country=country)
    return Answer(data=found, entities={})


@post("/v1/tax-rates", guards=[requires("invoices:manage")])
async def create_tax_rate(
    request: Request[Any, Any, Any], data: JSONBody[TaxRateCreate], billing: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        rate = await bill_to.create_tax_rate(session, caller, data, billing.now())
        return Reply.of(Answer(data=rate, entities={}))

    return await once(request, billing, caller, key, make)


@get("/v1/tenants/{tenant_id:uuid}/invoice-terms", guards=[requires("invoices:manage")])
async def get_terms(tenant_id: FromPath[UUID], billing: Stand, caller: Who) -> Answer[InvoiceTerms]:
    _sees_tenant(caller, tenant_id)
    async with billing.database.reading() as session:
        return Answer(data=await bill_to.terms_of(session, tenant_id), entities={})


@put("/v1/tenants/{tenant_id:uuid}/invoice-terms", guards=[requires("invoices:manage")])
async def set_terms(
    tenant_id: FromPath[UUID], data: JSONBody[InvoiceTermsSet], billing: Stand, caller: Who
) -> Answer[InvoiceTerms]:
    _sees_tenant(caller, tenant_id)
    async with billing.database.writing() as session:
        return Answer(data=await bill_to.set_terms(session, tenant_id, data, billing.now()), entities={})


INVOICES = [
    list_invoices, issue_invoices, get_invoice, get_pdf, get_csv, list_charges, credit_invoice, pay_invoice,
    preview_invoices,
    get_bill_to, set_bill_to, list_tax_rates, create_tax_rate, get_terms, set_terms,
]  # fmt: skip


@cache
def _fonts() -> Fonts:
    return Fonts(load(Invoicing).invoice_fonts)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}


async def _visible(billing: Stand, caller: Caller, user_id: UUID) -> Customer:
    """Raises NotFound for a user outside the caller's data scope."""
    return _customer(await owners.user_named(billing.core, caller, user_id))


def _customer(user: User) -> Customer:
    return Customer(tenant_id=user.tenant_id, user_id=user.id, name=user.name, email=user.email)


def _sees_tenant(caller: Caller, tenant_id: UUID) -> None:
    if not caller.sees(tenant_id, None):
        raise NotFound("There is no such tenant")

"""Invoices by hand: issued before the month ends, corrected by a credit note, paid from the wallet."""

from uuid import UUID

from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import CreditNoteCreate, Invoice, InvoiceIssue
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("invoices:manage")]
_NONE = {200: ResponseSpec(list[Invoice], description="There was nothing to invoice", generate_examples=False)}


@post("/admin/invoices", tags=["invoices"], guards=_GUARDS, responses=_NONE | problems(404, 409, 413, 415, 422))
async def issue_invoices(
    data: JSONBody[InvoiceIssue], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Response[list[Invoice]]:
    """Invoices what a user was not invoiced for before: one invoice a currency, none where there is nothing."""
    issued = await core.billing.invoices.issue(data, passing_on(caller), idempotency_key=idempotency_key)
    return Response(issued, status_code=201 if issued else 200)


@post(
    "/admin/invoices/{invoice_id:uuid}/credit-notes",
    tags=["invoices"],
    guards=_GUARDS,
    responses=problems(404, 409, 413, 415, 422),
)
async def credit_invoice(
    invoice_id: FromPath[UUID],
    data: JSONBody[CreditNoteCreate],
    core: Core,
    caller: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response[Invoice]:
    """Takes an invoice back, or a part of it. What was paid of that goes to the wallet."""
    note = await core.billing.invoices.credit(invoice_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/invoices/{note.id}", note)


@post(
    "/admin/invoices/{invoice_id:uuid}/pay",
    status_code=200,
    tags=["invoices"],
    guards=[staff("payments:write")],
    responses=problems(404, 409, 422),
)
async def settle_invoice(
    invoice_id: FromPath[UUID], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> Invoice:
    """Pays what is due from its customer's wallet."""
    return await core.billing.invoices.pay(invoice_id, passing_on(caller), idempotency_key=idempotency_key)


INVOICING = [issue_invoices, credit_invoice, settle_invoice]

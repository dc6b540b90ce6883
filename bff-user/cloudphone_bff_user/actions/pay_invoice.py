"""What is due on an invoice, paid by its customer."""

from uuid import UUID

from litestar import post
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import IdempotencyKey
from cloudphone_shared.http.problems import problems

from ..invoices import MyInvoice


@post(
    "/my/invoices/{invoice_id:uuid}/pay",
    status_code=200,
    tags=["invoices"],
    guards=[requires("payments:write")],
    responses=problems(404, 409, 422),
)
async def pay_my_invoice(
    invoice_id: FromPath[UUID], core: Core, caller: Who, idempotency_key: IdempotencyKey = None
) -> MyInvoice:
    """Pays what is due from the wallet."""
    paid = await core.billing.invoices.pay(invoice_id, passing_on(caller), idempotency_key=idempotency_key)
    return MyInvoice.of(paid)

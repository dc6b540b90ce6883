"""How a payment provider's books and ours agreed, day by day, from the billing service as it stands."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.payment import PaymentReconciliation
from cloudphone_shared.http.handling import Asked, Core, Who
from cloudphone_shared.http.lists import only_parameters
from cloudphone_shared.http.operations import AlsoTable, Form, in_form
from cloudphone_shared.http.problems import problems

from ..staff import overseer

_READ = overseer("payments:manage")


@get(
    "/admin/payment-reconciliations",
    tags=["payments"],
    guards=[_READ, only_parameters()],
    responses=problems(),
)
async def list_payment_reconciliations(core: Core, caller: Who, asked: Asked) -> Page[PaymentReconciliation]:
    """Reports, latest first."""
    return await core.billing.payments.reconciliations(asked.listing(), bearer=passing_on(caller))


@get(
    "/admin/payment-reconciliations/{reconciliation_id:uuid}",
    tags=["payments"],
    guards=[_READ],
    responses=problems(404),
    operation_class=AlsoTable,
)
async def show_payment_reconciliation(
    reconciliation_id: FromPath[UUID], core: Core, caller: Who, form: Form = "json"
) -> Response[PaymentReconciliation]:
    """A day's report: what was compared, what differed, and what was done about it."""
    payments, bearer = core.billing.payments, passing_on(caller)
    return await in_form(
        form,
        lambda: payments.reconciliation(reconciliation_id, bearer=bearer),
        lambda: payments.reconciliation_table(reconciliation_id, bearer),
    )


RECONCILIATIONS = [list_payment_reconciliations, show_payment_reconciliation]

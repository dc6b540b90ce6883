"""A provider's day compared with ours, now."""

from litestar import Response, post
from litestar.params import JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.payment import PaymentReconciliation, ReconcilePayments
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.operations import created
from cloudphone_shared.http.problems import problems

from ..staff import overseer


@post(
    "/admin/payment-reconciliations",
    tags=["payments"],
    guards=[overseer("payments:manage")],
    responses=problems(409, 413, 415),
)
async def reconcile_payments(
    data: JSONBody[ReconcilePayments], core: Core, caller: Who
) -> Response[PaymentReconciliation]:
    """Compares a day of the provider's books with ours, and finds out what became of payments without an answer."""
    report = await core.billing.payments.reconcile(data, passing_on(caller))
    return created(f"/admin/payment-reconciliations/{report.id}", report)

"""To whom the caller's invoices are made out, and what they may come to, from the billing service as it stands."""

from litestar import get

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import BillTo
from cloudphone_shared.contracts.rating import Budget
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems


@get("/my/bill-to", tags=["invoices"], guards=[requires("invoices:read")], responses=problems())
async def show_my_bill_to(core: Core, caller: Who) -> BillTo:
    """Name and address on the caller's invoices; the country decides on taxes."""
    return await core.billing.invoices.bill_to(caller.id, bearer=passing_on(caller))


@get("/my/budget", tags=["usage"], guards=[requires("usage:read")], responses=problems())
async def show_my_budget(core: Core, caller: Who) -> Budget | None:
    """The month's limit that the caller has set, and how far it is used up; null before one was set."""
    return await core.billing.rating.budget(caller.id, bearer=passing_on(caller))

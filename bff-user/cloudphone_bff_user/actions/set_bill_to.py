"""To whom the caller's invoices are made out."""

from litestar import put
from litestar.params import JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import BillTo, BillToSet
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems


@put("/my/bill-to", tags=["invoices"], guards=[requires("payments:write")], responses=problems(404, 409, 413, 415))
async def set_my_bill_to(data: JSONBody[BillToSet], core: Core, caller: Who) -> BillTo:
    """For invoices from now on; those that were issued stay as they are."""
    return await core.billing.invoices.set_bill_to(caller.id, data, passing_on(caller))

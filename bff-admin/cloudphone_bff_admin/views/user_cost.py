"""What a user's use costs, the limit set for it, and to whom it is invoiced, from the billing service as it stands."""

from uuid import UUID

from litestar import get
from litestar.params import FromPath

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import BillTo
from cloudphone_shared.contracts.rating import Budget, UserCost
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/users/{user_id:uuid}/cost", tags=["usage"], guards=[staff("usage:read")], responses=problems(404))
async def show_cost(user_id: FromPath[UUID], core: Core, caller: Who) -> UserCost:
    """What a user's running time costs so far in the present period."""
    return await core.billing.rating.cost(user_id, bearer=passing_on(caller))


@get("/admin/users/{user_id:uuid}/budget", tags=["usage"], guards=[staff("usage:read")], responses=problems(404))
async def show_budget(user_id: FromPath[UUID], core: Core, caller: Who) -> Budget | None:
    """The month's limit that was set, and how far it is used up; null before one was set."""
    return await core.billing.rating.budget(user_id, bearer=passing_on(caller))


@get("/admin/users/{user_id:uuid}/bill-to", tags=["invoices"], guards=[staff("invoices:read")], responses=problems(404))
async def show_bill_to(user_id: FromPath[UUID], core: Core, caller: Who) -> BillTo:
    """Name and address on a user's invoices; the country decides on taxes."""
    return await core.billing.invoices.bill_to(user_id, bearer=passing_on(caller))


COSTS = [show_cost, show_budget, show_bill_to]

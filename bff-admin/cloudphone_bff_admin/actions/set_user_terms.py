"""A user's budget, and to whom he is invoiced, set for him."""

from uuid import UUID

from litestar import put
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.invoice import BillTo, BillToSet
from cloudphone_shared.contracts.rating import Budget, BudgetSet
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems

from ..staff import staff

_RESPONSES = problems(404, 409, 413, 415)


@put("/admin/users/{user_id:uuid}/budget", tags=["usage"], guards=[staff("payments:write")], responses=_RESPONSES)
async def set_budget(user_id: FromPath[UUID], data: JSONBody[BudgetSet], core: Core, caller: Who) -> Budget:
    """Sets when a user is warned of what his use costs. It stops nothing."""
    return await core.billing.rating.set_budget(user_id, data, passing_on(caller))


@put("/admin/users/{user_id:uuid}/bill-to", tags=["invoices"], guards=[staff("payments:write")], responses=_RESPONSES)
async def set_bill_to(user_id: FromPath[UUID], data: JSONBody[BillToSet], core: Core, caller: Who) -> BillTo:
    """Sets name and address for a user's invoices from now on."""
    return await core.billing.invoices.set_bill_to(user_id, data, passing_on(caller))


USER_TERMS = [set_budget, set_bill_to]

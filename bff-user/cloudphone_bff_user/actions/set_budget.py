"""What the caller's use may cost in a month."""

from litestar import put
from litestar.params import JSONBody

from cloudphone_shared.auth import passing_on
from cloudphone_shared.contracts.rating import Budget, BudgetSet
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.handling import Core, Who
from cloudphone_shared.http.problems import problems


@put("/my/budget", tags=["usage"], guards=[requires("payments:write")], responses=problems(404, 409, 413, 415))
async def set_my_budget(data: JSONBody[BudgetSet], core: Core, caller: Who) -> Budget:
    """Sets when the caller is warned of the cost of this period's use, and of a wallet that runs low. It stops
    nothing."""
    return await core.billing.rating.set_budget(caller.id, data, passing_on(caller))

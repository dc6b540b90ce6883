"""A user's balance, corrected."""

from uuid import UUID

from litestar import put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Balance, BalanceSet
from cloudphone_shared.http.problems import problems

from ..staff import staff


@put(
    "/admin/users/{user_id:uuid}/balance",
    tags=["users"],
    guards=[staff("balances:manage")],
    responses=problems(404, 409, 413, 415),
)
async def set_balance(
    user_id: FromPath[UUID],
    data: JSONBody[BalanceSet],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> Balance:
    """Sets a user's balance to the given figures."""
    return await core.billing.set_balance(user_id, data, passing_on(caller))

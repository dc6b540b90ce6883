"""A user who owes."""

from uuid import UUID

from litestar import put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import Arrears, ArrearsSet
from cloudphone_shared.http.problems import problems

from ..staff import staff


@put(
    "/admin/users/{user_id:uuid}/arrears",
    tags=["users"],
    guards=[staff("arrears:manage")],
    responses=problems(404, 409, 413, 415),
)
async def begin_arrears(
    user_id: FromPath[UUID],
    data: JSONBody[ArrearsSet],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> Arrears:
    """Notes that a user owes: every device that the user holds is stopped and frozen, until the arrears end."""
    return await core.billing.begin_arrears(user_id, data, passing_on(caller))

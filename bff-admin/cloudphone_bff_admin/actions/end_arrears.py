"""A user who owes no more."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/users/{user_id:uuid}/arrears",
    tags=["users"],
    guards=[staff("arrears:manage")],
    responses=problems(404, 409),
)
async def end_arrears(
    user_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> None:
    """Ends a user's arrears: what was frozen for them can be started again."""
    await core.billing.end_arrears(user_id, passing_on(caller))

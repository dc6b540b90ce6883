"""A user's running time day by day, from the billing service as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.billing import UsageDay
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/users/{user_id:uuid}/usage-days",
    tags=["usage"],
    guards=[staff("usage:read")],
    responses=problems(404),
)
async def list_usage_days(
    user_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    days: Annotated[int, QueryParameter(ge=1, le=366)] = 30,
) -> list[UsageDay]:
    """The last days in UTC, oldest first, days without use included."""
    return await core.billing.usage_days(user_id, days=days, bearer=passing_on(caller))

"""The end of a review of the caller's."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@delete(
    "/my/reviews/{review_id:uuid}",
    tags=["store"],
    guards=[requires("installations:write")],
    responses=problems(404),
)
async def delete_my_review(
    review_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> None:
    """Takes a review of the caller's out of the store."""
    await core.app.delete_review(review_id, passing_on(caller))

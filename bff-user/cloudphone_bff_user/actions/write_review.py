"""What the caller thinks of an app."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import ReviewWrite
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems

from ..views.store import StoreReview


@post(
    "/apps/{app_id:uuid}/reviews",
    status_code=200,
    tags=["store"],
    guards=[requires("installations:write")],
    responses=problems(404, 413, 415),
)
async def write_review(
    app_id: FromPath[UUID],
    data: JSONBody[ReviewWrite],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> StoreReview:
    """Reviews an app, in the place of the caller's earlier review of it."""
    return StoreReview.of(await core.app.write_review(app_id, data, passing_on(caller)), caller)

"""What is thought of an app, from the app service as it stands."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.app import Review
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/apps/{app_id:uuid}/reviews",
    tags=["apps"],
    guards=[staff("apps:read"), only_parameters()],
    responses=problems(404),
)
async def list_reviews(
    app_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
) -> Page[Review]:
    """An app's reviews. Sorted by `updatedAt` or `rating`; `-` before it descends."""
    return await core.app.reviews(app_id, asked.listing(), bearer=passing_on(caller))

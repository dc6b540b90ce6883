"""The end of an app."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/apps/{app_id:uuid}",
    tags=["apps"],
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 412),
)
async def delete_app(
    app_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> None:
    """Deletes an app that is installed nowhere."""
    await core.app.delete(app_id, passing_on(caller), if_match=if_match)

"""An app's fields."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import App, AppPatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/apps/{app_id:uuid}",
    tags=["apps"],
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_app(
    app_id: FromPath[UUID],
    data: JSONBody[AppPatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> App:
    """Changes an app; what is left out stays."""
    return await core.app.change(app_id, data, passing_on(caller), if_match=if_match)

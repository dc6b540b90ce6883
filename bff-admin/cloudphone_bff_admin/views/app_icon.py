"""An app's picture."""

from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.operations import PICTURES, picture
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/apps/{app_id:uuid}/icon",
    tags=["apps"],
    guards=[staff("apps:read")],
    responses=PICTURES | problems(404),
)
async def show_app_icon(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """An app's picture, a PNG or WebP."""
    return picture(await core.app.icon(app_id, passing_on(caller)))

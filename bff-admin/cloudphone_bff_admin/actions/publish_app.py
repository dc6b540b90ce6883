"""What customers find in the store: an app, and each of its versions."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import App, AppVersion
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GUARDS = [staff("apps:manage")]
_RESPONSES = problems(404, 409)


@post("/admin/apps/{app_id:uuid}/publish", status_code=200, tags=["apps"], guards=_GUARDS, responses=_RESPONSES)
async def publish_app(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> App:
    """Puts an app into the store."""
    return await core.app.publish(app_id, passing_on(caller), published=True)


@post("/admin/apps/{app_id:uuid}/unpublish", status_code=200, tags=["apps"], guards=_GUARDS, responses=_RESPONSES)
async def unpublish_app(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> App:
    """Takes an app out of the store. Where it is installed it stays."""
    return await core.app.publish(app_id, passing_on(caller), published=False)


@post(
    "/admin/app-versions/{version_id:uuid}/publish",
    status_code=200,
    tags=["apps"],
    guards=_GUARDS,
    responses=_RESPONSES,
)
async def publish_app_version(
    version_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> AppVersion:
    """Lets a version be installed from the store."""
    return await core.app.publish_version(version_id, passing_on(caller), published=True)


@post(
    "/admin/app-versions/{version_id:uuid}/unpublish",
    status_code=200,
    tags=["apps"],
    guards=_GUARDS,
    responses=_RESPONSES,
)
async def unpublish_app_version(
    version_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> AppVersion:
    """Lets a version be installed no more. Where it is installed it stays."""
    return await core.app.publish_version(version_id, passing_on(caller), published=False)


PUBLISHING = [publish_app, unpublish_app, publish_app_version, unpublish_app_version]

"""A new version of an app."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import AppVersion, AppVersionCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/apps/{app_id:uuid}/versions",
    tags=["apps"],
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 413, 415, 422),
)
async def add_app_version(
    app_id: FromPath[UUID],
    data: JSONBody[AppVersionCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[AppVersion]:
    """Adds a version to an app."""
    version = await core.app.add_version(app_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/apps/{app_id}/versions", version)

"""An upload that becomes an app's version."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import AppVersion
from cloudphone_shared.contracts.upload import UploadPublish
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/uploads/{upload_id:uuid}/publish",
    tags=["uploads"],
    guards=[staff("apps:manage")],
    responses=problems(404, 409, 410, 413, 415, 422),
)
async def publish_upload(
    upload_id: FromPath[UUID],
    data: JSONBody[UploadPublish],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[AppVersion]:
    """Makes the next version of its app from an upload that was found good; and the app, where there is none."""
    version = await core.app.publish_upload(upload_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/apps/{version.app_id}/versions", version)

"""An app for a device."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import Installation, InstallationCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/installations",
    tags=["installations"],
    guards=[staff("installations:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def install_app(
    data: JSONBody[InstallationCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Installation]:
    """Records that an app is to be installed on a device."""
    installation = await core.app.install(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/devices/{installation.device_id}/applications", installation)

"""An app for a device."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import Installation, InstallationCreate
from cloudphone_shared.http.operations import IdempotencyKey, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/installations",
    status_code=202,
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
    """Installs an app's version on a device, or puts a newer one in the place of an older."""
    installation = await core.app.install(data, passing_on(caller), idempotency_key=idempotency_key)
    return accepted(f"/admin/installations/{installation.id}", installation)

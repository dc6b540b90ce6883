"""An app for one of the caller's devices."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Request
from cloudphone_shared.contracts.app import InstallationCreate, InstallationState
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IdempotencyKey, accepted
from cloudphone_shared.http.problems import problems


class AppInstall(Request, frozen=True, kw_only=True):
    app_version_id: UUID


class Installing(Contract, frozen=True, kw_only=True):
    """How far it is, the device's screen tells."""

    installation_id: UUID
    status: InstallationState


@post(
    "/my/devices/{device_id:uuid}/apps",
    status_code=202,
    tags=["store"],
    guards=[requires("installations:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def install_my_app(
    device_id: FromPath[UUID],
    data: JSONBody[AppInstall],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Installing]:
    """Installs an app's version on one of the caller's devices, or puts a newer one in the place of an older."""
    wanted = InstallationCreate(device_id=device_id, app_version_id=data.app_version_id)
    installation = await core.app.install(wanted, passing_on(caller), idempotency_key=idempotency_key)
    answer = Installing(installation_id=installation.id, status=installation.state)
    return accepted(f"/my/devices/{device_id}", answer)

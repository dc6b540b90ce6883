"""An app that is to be on the caller's device no more."""

from uuid import UUID

from litestar import Response, delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import accepted
from cloudphone_shared.http.problems import problems

from .install_app import Installing

_ENDED = frozenset({"failed", "cancelled", "uninstalled"})


@delete(
    "/my/devices/{device_id:uuid}/apps/{installation_id:uuid}",
    status_code=202,
    tags=["store"],
    guards=[requires("installations:write")],
    responses=problems(404, 409),
)
async def remove_my_app(
    device_id: FromPath[UUID],
    installation_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> Response[Installing]:
    """Takes an app off one of the caller's devices: what is installed is uninstalled, what is on its way is given up,
    and what came to nothing is forgotten."""
    bearer = passing_on(caller)
    found = await core.app.installation(installation_id, bearer=bearer)
    if found.device_id != device_id:
        raise NotFound
    if found.state in _ENDED:
        await core.app.delete_installation(installation_id, bearer)
    elif found.state == "installed":
        found = await core.app.uninstall(installation_id, bearer)
    else:
        found = await core.app.cancel_installation(installation_id, bearer)
    answer = Installing(installation_id=installation_id, status=found.state)
    return accepted(f"/my/devices/{device_id}", answer)

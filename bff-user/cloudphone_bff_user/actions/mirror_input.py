"""The same input for a group of phones."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import MirrorCreate, Mirrored
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@post(
    "/my/devices/input",
    status_code=200,
    tags=["phone"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 413, 415),
)
async def mirror_input(
    data: JSONBody[MirrorCreate], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Mirrored:
    """Does the same on up to 100 running devices at once, and tells how far apart they were."""
    return await core.device.mirror(data, passing_on(caller))

"""The name and tags of one of the caller's devices."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import DevicePatch
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..views.my_device import MyDevice


@patch(
    "/my/devices/{device_id:uuid}",
    tags=["devices"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_my_device(
    device_id: FromPath[UUID],
    data: JSONBody[DevicePatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> MyDevice:
    """Renames one of the caller's devices or replaces its tags; what is left out stays."""
    return MyDevice.of(await core.device.change(device_id, data, passing_on(caller), if_match=if_match))

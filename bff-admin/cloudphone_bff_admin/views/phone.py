"""What a device's phone says at this moment: its screen and its vital signs."""

from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import Vitals
from cloudphone_shared.http.operations import PICTURE
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/devices/{device_id:uuid}/screenshot",
    tags=["devices"],
    guards=[staff("devices:read")],
    responses=PICTURE | problems(404, 409),
)
async def show_screenshot(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """What a running device shows on its screen."""
    return Response(await core.device.screenshot(device_id, passing_on(caller)), media_type="image/png")


@get(
    "/admin/devices/{device_id:uuid}/vitals",
    tags=["devices"],
    guards=[staff("devices:read")],
    responses=problems(404, 409),
)
async def show_vitals(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Vitals:
    """A device's load, memory and storage, and the app in front."""
    return await core.device.vitals(device_id, bearer=passing_on(caller))

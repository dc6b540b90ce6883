"""What the phone of one of the caller's devices shows at this moment."""

from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import PICTURE
from cloudphone_shared.http.problems import problems


@get(
    "/my/devices/{device_id:uuid}/screenshot",
    tags=["phone"],
    guards=[requires("devices:read")],
    responses=PICTURE | problems(404, 409),
)
async def show_my_screenshot(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """What is on the screen of a running device, the caller's own or one shared with the caller."""
    return Response(await core.device.screenshot(device_id, passing_on(caller)), media_type="image/png")

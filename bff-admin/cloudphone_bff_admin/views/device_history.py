"""What became of a device, from its service as it stands."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.app import Installation
from cloudphone_shared.contracts.device import StateChange
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/devices/{device_id:uuid}/history",
    tags=["devices"],
    guards=[staff("devices:read")],
    responses=problems(404),
)
async def show_device_history(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[StateChange]:
    """A device's last 50 changes of state, latest first."""
    return await core.device.history(device_id, bearer=passing_on(caller))


@get(
    "/admin/devices/{device_id:uuid}/applications",
    tags=["installations"],
    guards=[staff("apps:read")],
    responses=problems(404),
)
async def list_device_applications(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[Installation]:
    """A device's installations, by app name."""
    return await core.app.installations(device_id, bearer=passing_on(caller))

"""Who was given leave to see or control a device, from its service as it stands."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import Grant
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/devices/{device_id:uuid}/grants",
    tags=["devices"],
    guards=[staff("devices:read")],
    responses=problems(404),
)
async def list_grants(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[Grant]:
    """The grants of a device that are in force, latest first."""
    return await core.device.grants(device_id, bearer=passing_on(caller))

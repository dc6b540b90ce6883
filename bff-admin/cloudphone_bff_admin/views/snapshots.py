"""A device's snapshots, from its service as they stand."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import Snapshot
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/devices/{device_id:uuid}/snapshots",
    tags=["snapshots"],
    guards=[staff("devices:read")],
    responses=problems(404),
)
async def list_snapshots(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[Snapshot]:
    """A device's snapshots, latest first."""
    return await core.device.snapshots(device_id, bearer=passing_on(caller))

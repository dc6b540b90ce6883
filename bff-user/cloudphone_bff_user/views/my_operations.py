"""Long work on the caller's devices, from the device service as it stands."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems

from ..operations import MyOperation


@get("/my/operations/{operation_id:uuid}", tags=["devices"], guards=[requires("devices:read")], responses=problems(404))
async def show_my_operation(
    operation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> MyOperation:
    """How far the work on one of the caller's devices is, or what came of it."""
    return MyOperation.of(await core.device.operation(operation_id, bearer=passing_on(caller)))


@get(
    "/my/devices/{device_id:uuid}/operations",
    tags=["devices"],
    guards=[requires("devices:read")],
    responses=problems(404),
)
async def list_my_operations(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[MyOperation]:
    """The last 50 operations of one of the caller's devices, latest first."""
    return [MyOperation.of(each) for each in await core.device.operations(device_id, bearer=passing_on(caller))]

"""A new device."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device, DeviceCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/devices",
    tags=["devices"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409, 413, 415, 422),
)
async def create_device(
    data: JSONBody[DeviceCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Device]:
    """Makes a device from a template; it belongs to nobody yet."""
    device = await core.device.create(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/devices/{device.id}", device)

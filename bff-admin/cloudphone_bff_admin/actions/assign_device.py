"""Giving a device to a user."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device, DeviceAssign
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/devices/{device_id:uuid}/assign",
    status_code=200,
    tags=["devices"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def assign_device(
    device_id: FromPath[UUID],
    data: JSONBody[DeviceAssign],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Device:
    """Assigns an idle device to a user of its tenant."""
    return await core.device.assign(
        device_id, data, passing_on(caller), if_match=if_match, idempotency_key=idempotency_key
    )

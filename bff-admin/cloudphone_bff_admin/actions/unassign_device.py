"""Taking a device from its user."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/devices/{device_id:uuid}/unassign",
    status_code=200,
    tags=["devices"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409, 412),
)
async def unassign_device(
    device_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Device:
    """Takes a device from its user; it is cleaned and idle again."""
    return await core.device.unassign(device_id, passing_on(caller), if_match=if_match)

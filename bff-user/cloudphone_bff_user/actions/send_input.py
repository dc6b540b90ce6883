"""Taps, swipes, text and keys for a phone."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import InputCreate
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


@post(
    "/my/devices/{device_id:uuid}/input",
    status_code=204,
    tags=["phone"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 413, 415),
)
async def send_input(
    device_id: FromPath[UUID],
    data: JSONBody[InputCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> None:
    """Taps, swipes, types and presses keys on a running device, in that order: the caller's own, or one shared with the
    caller to be controlled."""
    await core.device.input(device_id, data, passing_on(caller))

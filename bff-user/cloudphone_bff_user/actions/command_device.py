"""What the caller's device is told to do: one path each, answered by the operation that does it."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import DeviceStart
from cloudphone_shared.contracts.operation import Command
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch, accepted
from cloudphone_shared.http.problems import problems

from ..operations import MyOperation


def _command(command: Command, says: str) -> HTTPRouteHandler:
    async def handler(
        device_id: FromPath[UUID],
        core: NamedDependency[CoreClients],
        caller: NamedDependency[Caller],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MyOperation]:
        operation = await core.device.command(
            device_id, command, passing_on(caller), if_match=if_match, idempotency_key=idempotency_key
        )
        return accepted(f"/my/operations/{operation.id}", MyOperation.of(operation))

    handler.__name__ = f"{command}_my_device"
    handler.__doc__ = says
    return post(
        f"/my/devices/{{device_id:uuid}}/{command}",
        status_code=202,
        tags=["devices"],
        guards=[requires("devices:write")],
        responses=problems(404, 409, 412, 422),
    )(handler)


@post(
    "/my/devices/{device_id:uuid}/start",
    status_code=202,
    tags=["devices"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def start_my_device(
    device_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    data: JSONBody[DeviceStart | None] = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[MyOperation]:
    """Starts one of the caller's devices. An error needs `force`."""
    force = data is not None and data.force
    operation = await core.device.command(
        device_id, "start", passing_on(caller), force=force, if_match=if_match, idempotency_key=idempotency_key
    )
    return accepted(f"/my/operations/{operation.id}", MyOperation.of(operation))


DEVICE_COMMANDS = [
    start_my_device,
    _command("stop", "Stops one of the caller's devices. What is on it stays."),
    _command("reboot", "Stops one of the caller's running devices and starts it again."),
    _command("reset", "Empties one of the caller's devices: it is as it was when new, and nothing comes back."),
]

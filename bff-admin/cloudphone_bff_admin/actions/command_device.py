"""What a device is told to do: one path each, answered by the operation that does it."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import DeviceStart
from cloudphone_shared.contracts.operation import Command, Operation
from cloudphone_shared.http.operations import IdempotencyKey, IfMatch, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


def _command(command: Command, permission: str, says: str) -> HTTPRouteHandler:
    async def handler(
        device_id: FromPath[UUID],
        core: NamedDependency[CoreClients],
        caller: NamedDependency[Caller],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Operation]:
        operation = await core.device.command(
            device_id, command, passing_on(caller), if_match=if_match, idempotency_key=idempotency_key
        )
        return accepted(f"/admin/operations/{operation.id}", operation)

    handler.__name__ = f"{command}_device"
    handler.__doc__ = says
    return post(
        f"/admin/devices/{{device_id:uuid}}/{command}",
        status_code=202,
        tags=["devices"],
        guards=[staff(permission)],
        responses=problems(404, 409, 412, 422),
    )(handler)


@post(
    "/admin/devices/{device_id:uuid}/start",
    status_code=202,
    tags=["devices"],
    guards=[staff("devices:write")],
    responses=problems(404, 409, 412, 413, 415, 422),
)
async def start_device(
    device_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    data: JSONBody[DeviceStart | None] = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[Operation]:
    """Starts a device; its phone is made at the first start. An error needs `force`."""
    force = data is not None and data.force
    operation = await core.device.command(
        device_id, "start", passing_on(caller), force=force, if_match=if_match, idempotency_key=idempotency_key
    )
    return accepted(f"/admin/operations/{operation.id}", operation)


DEVICE_COMMANDS = [
    start_device,
    _command("stop", "devices:write", "Stops a device. What is on it stays."),
    _command("reboot", "devices:write", "Stops a running device and starts it again."),
    _command("reset", "devices:write", "Gives a device an empty volume, as it was when new. Its user keeps it."),
    _command("clean", "devices:manage", "Takes a device from its user and gives it an empty volume."),
    _command("freeze", "arrears:manage", "Stops a device and lets nobody start it, until it is unfrozen."),
    _command("unfreeze", "arrears:manage", "Lets a frozen device be started again."),
]

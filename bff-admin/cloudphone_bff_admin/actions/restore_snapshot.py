"""A device as it was once."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.operation import Operation
from cloudphone_shared.contracts.phone import RestoreCreate
from cloudphone_shared.http.operations import IdempotencyKey, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/devices/{device_id:uuid}/restore",
    status_code=202,
    tags=["snapshots"],
    guards=[staff("devices:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def restore_snapshot(
    device_id: FromPath[UUID],
    data: JSONBody[RestoreCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Operation]:
    """Puts a snapshot in the place of a stopped device's volume."""
    operation = await core.device.restore(device_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return accepted(f"/admin/operations/{operation.id}", operation)

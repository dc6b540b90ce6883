"""The same for many devices at once."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.operation import Batch, BatchCreate
from cloudphone_shared.http.operations import IdempotencyKey, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/devices/batch",
    status_code=202,
    tags=["devices"],
    guards=[staff("devices:manage")],
    responses=problems(409, 413, 415, 422),
)
async def command_devices(
    data: JSONBody[BatchCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Batch]:
    """Tells up to 500 devices the same. Each is accepted or refused by itself: an operation or a reason per device."""
    batch = await core.device.batch(data, passing_on(caller), idempotency_key=idempotency_key)
    return accepted(f"/admin/operations?batchId={batch.id}", batch)

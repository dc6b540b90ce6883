"""Leave for another to see or control one of the caller's devices."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import GrantCreate
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..views.my_grants import MyGrant


@post(
    "/my/devices/{device_id:uuid}/grants",
    tags=["sharing"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 413, 415, 422),
)
async def share_device(
    device_id: FromPath[UUID],
    data: JSONBody[GrantCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[MyGrant]:
    """Shares one of the caller's devices for a time with another user of the caller's organisation. It ends by itself,
    by revoking, and when the device is taken from the caller."""
    grant = await core.device.create_grant(device_id, data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/my/devices/{device_id}/grants", MyGrant.of(grant))

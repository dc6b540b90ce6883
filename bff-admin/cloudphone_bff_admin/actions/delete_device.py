"""The end of a device."""

from uuid import UUID

from litestar import Response, delete
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.operation import Operation
from cloudphone_shared.http.operations import IfMatch, accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff

_GONE = ResponseSpec(None, description="Gone at once: it never had a phone", generate_examples=False)


@delete(
    "/admin/devices/{device_id:uuid}",
    status_code=202,
    tags=["devices"],
    guards=[staff("devices:manage")],
    responses={204: _GONE, **problems(404, 409, 412)},
)
async def delete_device(
    device_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Response[Operation] | Response[None]:
    """Deletes a device with all that is on it, if its state allows that."""
    operation = await core.device.delete(device_id, passing_on(caller), if_match=if_match)
    if operation is None:
        return Response(None, status_code=204)
    return accepted(f"/admin/operations/{operation.id}", operation)

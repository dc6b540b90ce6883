"""A file for a phone."""

from typing import Any
from uuid import UUID

from litestar import Request, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import octets_in
from cloudphone_shared.http.problems import problems

from ..views.my_files import PhonePath

MOST_BYTES = 256 * 1024 * 1024


@put(
    "/my/devices/{device_id:uuid}/files/content",
    status_code=204,
    tags=["phone"],
    guards=[requires("devices:write")],
    responses=problems(404, 409, 413),
    request_max_body_size=MOST_BYTES,
    operation_class=octets_in(),
)
async def put_my_file(
    device_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    path: PhonePath,
) -> None:
    """Stores a file on a running device, up to 256 MiB, in the place of one of that name."""
    await core.device.push(device_id, path, request.stream(), request.content_length, passing_on(caller))

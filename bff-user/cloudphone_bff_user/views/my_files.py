"""What is stored on a phone, from the phone itself."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.types import ASGIApp

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import PhoneFile
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import OCTETS, Passing
from cloudphone_shared.http.problems import problems

PhonePath = Annotated[
    str,
    QueryParameter(name="path", min_length=1, max_length=1024, description="Below /sdcard, as in /sdcard/Download"),
]


@get(
    "/my/devices/{device_id:uuid}/files",
    tags=["phone"],
    guards=[requires("devices:write")],
    responses=problems(404, 409),
)
async def list_my_files(
    device_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    path: PhonePath = "/sdcard",
) -> list[PhoneFile]:
    """What is in a folder of a running device."""
    return await core.device.files(device_id, path, passing_on(caller))


@get(
    "/my/devices/{device_id:uuid}/files/content",
    tags=["phone"],
    guards=[requires("devices:write")],
    responses=OCTETS | problems(404, 409),
)
async def show_my_file(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller], path: PhonePath
) -> ASGIApp:
    """A file from a running device, up to 256 MiB."""
    # Whatever it holds, a browser is to keep it and not to show it.
    kept = {"content-type": "application/octet-stream", "content-disposition": "attachment"}
    return Passing(core.device.pull(device_id, path, passing_on(caller)), headers=["content-length"], given=kept)

"""What the phone of a device says at this moment: its screen and its vital signs."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.phone import Vitals
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import PICTURE
from cloudphone_shared.http.problems import problems


class MyVitals(Contract, frozen=True, kw_only=True):
    """As of `at`; CPU from 0 to 1 of all cores, sizes in bytes. `foreground`: the package in front."""

    at: datetime
    online: bool
    cpu_load: float | None
    memory_used: int | None
    memory_total: int | None
    storage_used: int | None
    storage_total: int | None
    foreground: str | None

    @staticmethod
    def of(vitals: Vitals) -> "MyVitals":
        return msgspec.convert(vitals, MyVitals, from_attributes=True)


@get(
    "/my/devices/{device_id:uuid}/screenshot",
    tags=["phone"],
    guards=[requires("devices:read")],
    responses=PICTURE | problems(404, 409),
)
async def show_my_screenshot(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """What is on the screen of a running device, the caller's own or one shared with the caller."""
    return Response(await core.device.screenshot(device_id, passing_on(caller)), media_type="image/png")


@get(
    "/my/devices/{device_id:uuid}/vitals",
    tags=["phone"],
    guards=[requires("devices:read")],
    responses=problems(404, 409),
)
async def show_my_vitals(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> MyVitals:
    """The load, memory and storage of a running device, and the app in front: the caller's own, or one shared with the
    caller."""
    return MyVitals.of(await core.device.vitals(device_id, bearer=passing_on(caller)))

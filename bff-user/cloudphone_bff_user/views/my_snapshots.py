"""The snapshots of one of the caller's devices, from the device service as they stand."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.phone import Snapshot, SnapshotState
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems


class MySnapshot(Contract, frozen=True, kw_only=True):
    """`size` in bytes, once it is ready."""

    id: UUID
    device_id: UUID
    name: str
    state: SnapshotState
    size: int | None
    created_at: datetime

    @staticmethod
    def of(snapshot: Snapshot) -> "MySnapshot":
        return msgspec.convert(snapshot, MySnapshot, from_attributes=True)


@get(
    "/my/devices/{device_id:uuid}/snapshots",
    tags=["devices"],
    guards=[requires("devices:read")],
    responses=problems(404),
)
async def list_my_snapshots(
    device_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[MySnapshot]:
    """The snapshots of one of the caller's devices, latest first."""
    return [MySnapshot.of(each) for each in await core.device.snapshots(device_id, bearer=passing_on(caller))]

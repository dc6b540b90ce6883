"""The end of a snapshot."""

from uuid import UUID

from litestar import Response, delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.operation import Operation
from cloudphone_shared.http.operations import accepted
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/snapshots/{snapshot_id:uuid}",
    status_code=202,
    tags=["snapshots"],
    guards=[staff("devices:write")],
    responses=problems(404, 409),
)
async def delete_snapshot(
    snapshot_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[Operation]:
    """Deletes a snapshot, its copy first."""
    operation = await core.device.delete_snapshot(snapshot_id, passing_on(caller))
    return accepted(f"/admin/operations/{operation.id}", operation)

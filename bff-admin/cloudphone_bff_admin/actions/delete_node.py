"""The end of a node."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete(
    "/admin/nodes/{node_id:uuid}",
    tags=["nodes"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409),
)
async def delete_node(
    node_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
) -> None:
    """Deletes a node on which no device stands."""
    await core.device.delete_node(node_id, passing_on(caller))

"""A node's fields."""

from uuid import UUID

from litestar import patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Node, NodePatch
from cloudphone_shared.http.operations import IfMatch
from cloudphone_shared.http.problems import problems

from ..staff import staff


@patch(
    "/admin/nodes/{node_id:uuid}",
    tags=["nodes"],
    guards=[staff("devices:manage")],
    responses=problems(404, 409, 412, 413, 415),
)
async def change_node(
    node_id: FromPath[UUID],
    data: JSONBody[NodePatch],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    if_match: IfMatch = None,
) -> Node:
    """Changes a node; what is left out stays."""
    return await core.device.change_node(node_id, data, passing_on(caller), if_match=if_match)

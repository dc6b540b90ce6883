"""A new node."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Node, NodeCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/nodes",
    tags=["nodes"],
    guards=[staff("devices:manage")],
    responses=problems(409, 413, 415, 422),
)
async def create_node(
    data: JSONBody[NodeCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[Node]:
    """Adds a node to the fleet."""
    node = await core.device.create_node(data, passing_on(caller), idempotency_key=idempotency_key)
    return created("/admin/nodes", node)

"""Nodes and templates, from the device service as they stand."""

from litestar import get
from litestar.di import NamedDependency

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Node, Template
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/nodes", tags=["nodes"], guards=[staff("devices:read")], responses=problems())
async def list_nodes(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Node]:
    """All nodes of the fleet."""
    return await core.device.nodes(bearer=passing_on(caller))


@get("/admin/templates", tags=["templates"], guards=[staff("devices:read")], responses=problems())
async def list_templates(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Template]:
    """All templates that devices are made from."""
    return await core.device.templates(bearer=passing_on(caller))

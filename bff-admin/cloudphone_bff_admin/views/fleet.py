"""Nodes and templates, from the device service as they stand."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.device import Node, NodeStatus, Template
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/nodes",
    tags=["nodes"],
    guards=[staff("devices:read"), only_parameters("status", "region")],
    responses=problems(),
)
async def list_nodes(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    status: Annotated[NodeStatus | None, QueryParameter()] = None,
    region: Annotated[str | None, QueryParameter(max_length=40)] = None,
) -> Page[Node]:
    """Nodes. Sorted by `name`, `region`, `status`, `capacity` or `createdAt`; `-` before it descends."""
    return await core.device.node_page(asked.listing(status=status, region=region), bearer=passing_on(caller))


@get(
    "/admin/templates",
    tags=["templates"],
    guards=[staff("devices:read"), only_parameters("androidVersion")],
    responses=problems(),
)
async def list_templates(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    android_version: Annotated[str | None, QueryParameter(name="androidVersion", max_length=40)] = None,
) -> Page[Template]:
    """What devices are made from. Sorted by `name`, `androidVersion` or `createdAt`; `-` before it descends."""
    return await core.device.template_page(asked.listing(androidVersion=android_version), bearer=passing_on(caller))

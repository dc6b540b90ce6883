"""Nodes as the scheduler sees them, their heartbeats, and what operators choose."""

from typing import Any
from uuid import UUID

from litestar import get, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.scheduler import NodeReport, NodeResources, SchedulerSettings
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires

from . import health, queries, service


async def _over_all_tenants(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if caller_of(connection).data_scope != "all":
        raise Forbidden("The strategy serves all tenants: only a caller who sees them all may change it")


@get("/v1/scheduler/nodes", guards=[requires("allocations:read")])
async def list_nodes(database: NamedDependency[Database]) -> Answer[list[NodeResources]]:
    async with database.reading() as session:
        return await queries.nodes(session)


@get("/v1/scheduler/settings", guards=[requires("allocations:read")])
async def get_settings(database: NamedDependency[Database]) -> Answer[SchedulerSettings]:
    async with database.reading() as session:
        return Answer(data=SchedulerSettings(strategy=await service.strategy_in_use(session)), entities={})


@put("/v1/scheduler/settings", guards=[requires("allocations:manage"), _over_all_tenants])
async def change_settings(
    data: JSONBody[SchedulerSettings], database: NamedDependency[Database]
) -> Answer[SchedulerSettings]:
    async with database.writing() as session:
        await service.set_strategy(session, data.strategy)
    return Answer(data=data, entities={})


@post("/v1/nodes/{node_id:uuid}/heartbeat", status_code=200, guards=[requires("nodes:report")])
async def report_node(
    node_id: FromPath[UUID], data: JSONBody[NodeReport], database: NamedDependency[Database]
) -> Answer[None]:
    async with database.writing() as session:
        await health.note_heartbeat(session, node_id, data)
    return Answer(data=None, entities={})


NODE_ROUTES = [list_nodes, get_settings, change_settings, report_node]

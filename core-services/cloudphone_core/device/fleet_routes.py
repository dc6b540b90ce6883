"""Nodes and templates over HTTP: staff reads, who sees all tenants and manages devices changes."""

from typing import Annotated, Any, TypeVar
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.device import (
    Node,
    NodeCreate,
    NodePatch,
    NodeStatus,
    Template,
    TemplateCreate,
    TemplatePatch,
)
from cloudphone_shared.database import Cursors, Database, Reply, idempotent, request_hash
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import etag, expected_version

from . import fleet, fleet_queries
from .queries import knows_the_fleet

T = TypeVar("T", Node, Template)
IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]


async def _staff(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if not knows_the_fleet(caller_of(connection)):
        raise Forbidden("Nodes are not for customers")


async def _over_all_tenants(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if caller_of(connection).data_scope != "all":
        raise Forbidden("Nodes and templates serve all tenants: only a caller who sees them all may change one")


_READ = [requires("devices:read"), _staff]
_MANAGE = [requires("devices:manage"), _over_all_tenants]


@get("/v1/nodes", guards=[*_READ, only_parameters("status", "region")])
async def list_nodes(
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    status: Annotated[NodeStatus | None, QueryParameter()] = None,
    region: Annotated[str | None, QueryParameter(max_length=40)] = None,
) -> Answer[Page[Node]]:
    async with database.reading() as session:
        return await fleet_queries.nodes(session, asked, cursors, status=status, region=region)


@get("/v1/nodes/{node_id:uuid}", guards=_READ)
async def get_node(node_id: FromPath[UUID], database: NamedDependency[Database]) -> Response[Answer[Node]]:
    async with database.reading() as session:
        return _versioned(await fleet_queries.node(session, node_id))


@post("/v1/nodes", guards=_MANAGE)
async def create_node(
    request: Request[Any, Any, Any],
    data: JSONBody[NodeCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def create(session: AsyncSession) -> Reply:
        node_id, announced = await fleet.create_node(session, data)
        return _created(f"/v1/nodes/{node_id}", await fleet_queries.node(session, node_id), announced)

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


@patch("/v1/nodes/{node_id:uuid}", guards=_MANAGE)
async def change_node(
    node_id: FromPath[UUID],
    data: JSONBody[NodePatch],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Node]]:
    async with database.writing() as session:
        await fleet.change_node(session, node_id, data, expected_version(if_match))
        return _versioned(await fleet_queries.node(session, node_id))


@delete("/v1/nodes/{node_id:uuid}", status_code=200, guards=_MANAGE)
async def delete_node(
    node_id: FromPath[UUID], database: NamedDependency[Database], if_match: IfMatch = None
) -> Answer[None]:
    async with database.writing() as session:
        return Answer(data=None, entities=await fleet.delete_node(session, node_id, expected_version(if_match)))


@get("/v1/templates", guards=[requires("devices:read"), only_parameters("androidVersion")])
async def list_templates(
    database: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    asked: NamedDependency[ListQuery],
    android_version: Annotated[str | None, QueryParameter(name="androidVersion", max_length=40)] = None,
) -> Answer[Page[Template]]:
    async with database.reading() as session:
        return await fleet_queries.templates(session, asked, cursors, android_version=android_version)


@get("/v1/templates/{template_id:uuid}", guards=[requires("devices:read")])
async def get_template(template_id: FromPath[UUID], database: NamedDependency[Database]) -> Response[Answer[Template]]:
    async with database.reading() as session:
        return _versioned(await fleet_queries.template(session, template_id))


@post("/v1/templates", guards=_MANAGE)
async def create_template(
    request: Request[Any, Any, Any],
    data: JSONBody[TemplateCreate],
    caller: NamedDependency[Caller],
    database: NamedDependency[Database],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    async def create(session: AsyncSession) -> Reply:
        template_id, announced = await fleet.create_template(session, data)
        found = await fleet_queries.template(session, template_id)
        return _created(f"/v1/templates/{template_id}", found, announced)

    asked = request_hash(caller.id, "POST", request.url.path, await request.body())
    return (await idempotent(database, caller.tenant_id, idempotency_key, asked, create)).response()


@patch("/v1/templates/{template_id:uuid}", guards=_MANAGE)
async def change_template(
    template_id: FromPath[UUID],
    data: JSONBody[TemplatePatch],
    database: NamedDependency[Database],
    if_match: IfMatch = None,
) -> Response[Answer[Template]]:
    async with database.writing() as session:
        await fleet.change_template(session, template_id, data, expected_version(if_match))
        return _versioned(await fleet_queries.template(session, template_id))


@delete("/v1/templates/{template_id:uuid}", status_code=200, guards=_MANAGE)
async def delete_template(
    template_id: FromPath[UUID], database: NamedDependency[Database], if_match: IfMatch = None
) -> Answer[None]:
    async with database.writing() as session:
        gone = await fleet.delete_template(session, template_id, expected_version(if_match))
    return Answer(data=None, entities=gone)


def _versioned(answer: Answer[T]) -> Response[Answer[T]]:
    return Response(answer, headers={"ETag": etag(answer.data.version)}, status_code=200)


def _created(location: str, answer: Answer[T], announced: dict[str, int]) -> Reply:
    answer = Answer(data=answer.data, entities=answer.entities | announced)
    return Reply.of(answer, status=201, headers={"Location": location, "ETag": etag(answer.data.version)})


FLEET_ROUTES = [
    list_nodes,
    get_node,
    create_node,
    change_node,
    delete_node,
    list_templates,
    get_template,
    create_template,
    change_template,
    delete_template,
]

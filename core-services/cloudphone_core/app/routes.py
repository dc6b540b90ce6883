"""The app service over HTTP, in URL order."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.clients.owners import may_see_device
from cloudphone_shared.contracts.app import (
    App,
    AppCreate,
    AppPatch,
    AppStatistics,
    AppVersion,
    AppVersionCreate,
    Installation,
)
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.database import Reply
from cloudphone_shared.errors import Forbidden
from cloudphone_shared.http.app import caller_of, requires
from cloudphone_shared.http.batches import Ids, parse_ids
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.preconditions import etag, expected_version

from . import queries, reads, service
from .standing import IfMatch, Key, Stand, Who, once

OfCategory = Annotated[str | None, QueryParameter(name="category", max_length=120)]


@get("/v1/apps", guards=[requires("apps:read"), only_parameters("category", "published")])
async def list_apps(
    store: Stand,
    caller: Who,
    asked: NamedDependency[ListQuery],
    category: OfCategory = None,
    published: FromQuery[bool | None] = None,
) -> Answer[Page[App]]:
    async with store.database.reading() as session:
        return await queries.app_page(session, caller, asked, store.cursors, category=category, published=published)


@post("/v1/apps", guards=[requires("apps:manage")])
async def create_app(
    request: Request[Any, Any, Any], data: JSONBody[AppCreate], store: Stand, caller: Who, key: Key = None
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        app_id = await service.create_app(session, caller, data, store.now())
        answer = await queries.app(session, caller, app_id)
        return Reply.of(answer, headers={"Location": f"/v1/apps/{app_id}", "ETag": etag(answer.data.version)})

    return await once(request, store, caller, key, make)


@get("/v1/apps/statistics", guards=[requires("dashboard:read")])
async def app_statistics(store: Stand, caller: Who) -> Answer[AppStatistics]:
    async with store.database.reading() as session:
        return await queries.statistics(session, caller)


@get("/v1/apps/{app_id:uuid}", guards=[requires("apps:read")])
async def get_app(app_id: FromPath[UUID], store: Stand, caller: Who) -> Response[Answer[App]]:
    async with store.database.reading() as session:
        return _tagged(await queries.app(session, caller, app_id))


@patch("/v1/apps/{app_id:uuid}", guards=[requires("apps:manage")])
async def change_app(
    app_id: FromPath[UUID], data: JSONBody[AppPatch], store: Stand, caller: Who, if_match: IfMatch = None
) -> Response[Answer[App]]:
    expected = expected_version(if_match)
    async with store.database.writing() as session:
        await service.change_app(session, caller, app_id, data, expected=expected, at=store.now())
        return _tagged(await queries.app(session, caller, app_id))


@delete("/v1/apps/{app_id:uuid}", guards=[requires("apps:manage")], status_code=200)
async def delete_app(app_id: FromPath[UUID], store: Stand, caller: Who, if_match: IfMatch = None) -> Answer[None]:
    expected = expected_version(if_match)
    async with store.database.writing() as session:
        gone = await service.delete_app(session, caller, app_id, expected=expected, at=store.now())
        return Answer(data=None, entities=gone)


@get("/v1/apps/{app_id:uuid}/versions", guards=[requires("apps:read")])
async def list_versions(app_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[list[AppVersion]]:
    async with store.database.reading() as session:
        return await queries.versions(session, caller, app_id)


@post("/v1/apps/{app_id:uuid}/versions", guards=[requires("apps:manage")])
async def add_version(
    request: Request[Any, Any, Any],
    app_id: FromPath[UUID],
    data: JSONBody[AppVersionCreate],
    store: Stand,
    caller: Who,
    key: Key = None,
) -> Response[Any]:
    async def make(session: AsyncSession) -> Reply:
        version = await service.add_version(session, caller, app_id, data, store.now())
        place = {"Location": f"/v1/apps/{app_id}/versions"}
        return Reply.of(await queries.version_added(session, version), headers=place)

    return await once(request, store, caller, key, make)


@get("/v1/devices/installation-counts", guards=[requires("apps:read")])
async def installation_counts(store: Stand, caller: Who, ids: Ids) -> Answer[Many[int]]:
    """For who sees all devices: here nobody knows whose a device without installations is."""
    if caller.data_scope != "all":
        raise Forbidden("Counts are for who sees all tenants")
    return await reads.installation_counts(store.database, parse_ids(ids))


@get("/v1/devices/installations", guards=[requires("apps:read")])
async def installations_of_many(store: Stand, caller: Who, ids: Ids) -> Answer[Many[list[Installation]]]:
    """For who sees all devices, as the counts are."""
    if caller.data_scope != "all":
        raise Forbidden("Several devices' installations are for who sees all tenants")
    return await reads.installations_of_many(store.database, parse_ids(ids))


@get("/v1/devices/{device_id:uuid}/installations", guards=[requires("apps:read")])
async def installations_of(
    device_id: FromPath[UUID], store: Stand, request: Request[Any, Any, Any]
) -> Answer[list[Installation]]:
    await may_see_device(store.core, caller_of(request), device_id)
    return await reads.installations(store.database, device_id)


HANDLERS = [
    list_apps, create_app, app_statistics, get_app, change_app, delete_app, list_versions, add_version,
    installation_counts, installations_of_many, installations_of,
]  # fmt: skip


def _tagged(answer: Answer[App]) -> Response[Answer[App]]:
    return Response(answer, headers={"ETag": etag(answer.data.version)})

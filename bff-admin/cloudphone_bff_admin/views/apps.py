"""The catalogue, from the app service as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.app import App, AppVersion
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/apps",
    tags=["apps"],
    guards=[staff("apps:read"), only_parameters("category", "published")],
    responses=problems(),
)
async def list_apps(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    category: Annotated[str | None, QueryParameter(max_length=120)] = None,
    published: Annotated[bool | None, QueryParameter()] = None,
) -> Page[App]:
    """Apps. Sorted by `name`, `packageName` or `createdAt`; `-` before it descends."""
    return await core.app.page(asked.listing(category=category, published=published), bearer=passing_on(caller))


@get("/admin/apps/{app_id:uuid}", tags=["apps"], guards=[staff("apps:read")], responses=problems(404))
async def show_app(app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> App:
    """An app."""
    return await core.app.get(app_id, bearer=passing_on(caller))


@get("/admin/apps/{app_id:uuid}/versions", tags=["apps"], guards=[staff("apps:read")], responses=problems(404))
async def list_app_versions(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[AppVersion]:
    """An app's versions, newest first."""
    return await core.app.versions(app_id, bearer=passing_on(caller))

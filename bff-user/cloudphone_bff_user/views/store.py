"""The store as customers walk through it, from the app service as it stands."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Page
from cloudphone_shared.contracts.app import Abi, App, AppVersion, Category, Review
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.operations import PICTURES, picture
from cloudphone_shared.http.problems import problems

_GUARD = requires("apps:read")


class StoreApp(Contract, frozen=True, kw_only=True):
    """`rating` is the reviews' average, null without any; `icon`: whether it has a picture."""

    id: UUID
    package_name: str
    name: str
    description: str
    category: str
    latest_version: str | None
    rating: float | None
    reviews: int
    icon: bool
    updated_at: datetime

    @staticmethod
    def of(app: App) -> "StoreApp":
        return msgspec.convert(app, StoreApp, from_attributes=True)


class StoreVersion(Contract, frozen=True, kw_only=True):
    """`size` in bytes. `available`: it can be installed."""

    id: UUID
    app_id: UUID
    version_code: int
    version_name: str
    abis: list[Abi]
    min_sdk: int
    size: int
    permissions: list[str]
    available: bool
    created_at: datetime

    @staticmethod
    def of(version: AppVersion) -> "StoreVersion":
        return msgspec.convert(version, StoreVersion, from_attributes=True)


class StoreReview(Contract, frozen=True, kw_only=True):
    """`rating` from 1 to 5. `mine`: the caller wrote it."""

    id: UUID
    app_id: UUID
    rating: int
    text: str
    mine: bool
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def of(review: Review, caller: Caller) -> "StoreReview":
        facts = msgspec.structs.asdict(review)
        mine = str(facts.pop("user_id")) == caller.id
        return StoreReview(**facts, mine=mine)


@get("/apps", tags=["store"], guards=[_GUARD, only_parameters("category")], responses=problems())
async def list_store_apps(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    category: Annotated[str | None, QueryParameter(max_length=120)] = None,
) -> Page[StoreApp]:
    """What the store offers. Sorted by `name`, `packageName`, `createdAt` or `rating`; `-` before it descends."""
    page = await core.app.page(asked.listing(category=category, published=True), bearer=passing_on(caller))
    return Page(items=[StoreApp.of(each) for each in page.items], next_cursor=page.next_cursor)


@get("/apps/categories", tags=["store"], guards=[_GUARD], responses=problems())
async def list_categories(core: NamedDependency[CoreClients], caller: NamedDependency[Caller]) -> list[Category]:
    """The store's categories, with how many apps each has."""
    return await core.app.categories(bearer=passing_on(caller))


@get("/apps/{app_id:uuid}", tags=["store"], guards=[_GUARD], responses=problems(404))
async def show_store_app(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> StoreApp:
    """An app of the store."""
    return StoreApp.of(await core.app.get(app_id, bearer=passing_on(caller)))


@get("/apps/{app_id:uuid}/icon", tags=["store"], guards=[_GUARD], responses=PICTURES | problems(404))
async def show_store_icon(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """An app's picture, a PNG or WebP."""
    return picture(await core.app.icon(app_id, passing_on(caller)))


@get("/apps/{app_id:uuid}/versions", tags=["store"], guards=[_GUARD], responses=problems(404))
async def list_store_versions(
    app_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[StoreVersion]:
    """An app's versions, newest first."""
    return [StoreVersion.of(each) for each in await core.app.versions(app_id, bearer=passing_on(caller))]


@get("/apps/{app_id:uuid}/reviews", tags=["store"], guards=[_GUARD, only_parameters()], responses=problems(404))
async def list_store_reviews(
    app_id: FromPath[UUID],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
) -> Page[StoreReview]:
    """What others think of an app. Sorted by `updatedAt` or `rating`; `-` before it descends."""
    page = await core.app.reviews(app_id, asked.listing(), bearer=passing_on(caller))
    return Page(items=[StoreReview.of(each, caller) for each in page.items], next_cursor=page.next_cursor)


STORE = [list_store_apps, list_categories, show_store_app, show_store_icon, list_store_versions, list_store_reviews]

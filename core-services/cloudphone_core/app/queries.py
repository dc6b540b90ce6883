"""What the app service answers. Each function wants a session of `reading()`, or the writing one that holds the row's
lock."""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import (
    App,
    AppStatistics,
    AppVersion,
    Category,
    Installation,
    InstallationBatch,
    InstallationItem,
)
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.operation import OperationError
from cloudphone_shared.database import Cursors, Sorts, containing, equal, page_of_rows, versions_of
from cloudphone_shared.errors import DomainError, NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import AppRow, AppVersionRow, InstallationRow
from .scope import seen_by, tenant_of

MOST_INSTALLATIONS = 500
MOST_VERSIONS = 500
MOST_CATEGORIES = 200
_SORTS = Sorts(
    {
        "name": AppRow.name,
        "packageName": AppRow.package_name,
        "createdAt": AppRow.created_at,
        "rating": AppRow.rating,
    },
    tiebreak=AppRow.id,
    default="name",
)
_INSTALLATION_SORTS = Sorts(
    {"createdAt": InstallationRow.created_at, "updatedAt": InstallationRow.updated_at},
    tiebreak=InstallationRow.id,
    default="-createdAt",
)


async def app(session: AsyncSession, caller: Caller, app_id: UUID) -> Answer[App]:
    row = (await session.execute(_apps().where(AppRow.id == app_id, seen_by(caller)))).one_or_none()
    shown = await versions_of(session, entities.app(app_id))
    if row is None:
        raise NotFound(entities=shown)
    return Answer(data=_app(row[0], row[1], shown), entities=shown)


async def app_page(
    session: AsyncSession,
    caller: Caller,
    asked: ListQuery,
    cursors: Cursors,
    *,
    category: str | None,
    published: bool | None,
) -> Answer[Page[App]]:
    statement = _apps().where(
        seen_by(caller),
        *equal((AppRow.category, category), (AppRow.published, published)),
        *containing(asked.search, AppRow.name, AppRow.package_name, AppRow.description),
    )
    found = await page_of_rows(
        session,
        cast("Select[Any]", statement),
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"apps {caller.data_scope} {caller.tenant_id} {category!r} {published} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, *(entities.app(row[0].id) for row in found.items))
    items = [_app(row[0], row[1], shown) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def versions(session: AsyncSession, caller: Caller, app_id: UUID) -> Answer[list[AppVersion]]:
    """Newest first; customers see those that are published."""
    shown = await versions_of(session, entities.app(app_id))
    if await session.scalar(select(AppRow.id).where(AppRow.id == app_id, seen_by(caller))) is None:
        raise NotFound(entities=shown)
    newest = select(AppVersionRow).where(AppVersionRow.app_id == app_id).order_by(AppVersionRow.version_code.desc())
    if caller.data_scope == "self":
        newest = newest.where(AppVersionRow.published)
    rows = (await session.scalars(newest.limit(MOST_VERSIONS))).all()
    return Answer(data=[version_of(row) for row in rows], entities=shown)


async def version_added(session: AsyncSession, row: AppVersionRow) -> Answer[AppVersion]:
    return Answer(data=version_of(row), entities=await versions_of(session, entities.app(row.app_id)))


async def installation(session: AsyncSession, installation_id: UUID) -> Answer[Installation]:
    # The app's version is read before its name: an older version than the data's is safe, a newer one is not.
    found = await session.get(InstallationRow, installation_id)
    if found is None:
        raise NotFound
    shown = await versions_of(session, entities.installations(found.device_id), entities.app(found.app_id))
    row = (await session.execute(_installations().where(InstallationRow.id == installation_id))).one()
    return Answer(data=_installation(row), entities=shown)


async def batch(
    session: AsyncSession, device_ids: Sequence[UUID], made: Mapping[UUID, InstallationRow | DomainError]
) -> Answer[InstallationBatch]:
    """One item for each device; those that are not in `made` are not there, or not the caller's to name."""
    begun = {device: row.id for device, row in made.items() if isinstance(row, InstallationRow)}
    shown = await versions_of(session, *(entities.installations(device) for device in begun))
    rows = await session.execute(_installations().where(InstallationRow.id.in_(begun.values())))
    found = {row[0].device_id: _installation(row) for row in rows.all()}
    absent = NotFound("There is no such device")
    items = [
        InstallationItem(device_id=device, installation=found[device])
        if device in found
        else InstallationItem(device_id=device, problem=_problem(made.get(device, absent)))
        for device in device_ids
    ]
    return Answer(data=InstallationBatch(items=items), entities=shown)


def _problem(refusal: object) -> OperationError:
    if not isinstance(refusal, DomainError):
        return OperationError(code="unknown", detail="It cannot be said what became of it")
    return OperationError(code=str(refusal.members.get("reason", refusal.code)), detail=refusal.detail)


async def installation_page(
    session: AsyncSession,
    caller: Caller,
    asked: ListQuery,
    cursors: Cursors,
    *,
    device_id: UUID | None,
    app_id: UUID | None,
    app_version_id: UUID | None,
    state: str | None,
) -> Answer[Page[Installation]]:
    wanted = (
        (InstallationRow.device_id, device_id),
        (InstallationRow.app_id, app_id),
        (InstallationRow.app_version_id, app_version_id),
        (InstallationRow.state, state),
        (InstallationRow.tenant_id, None if caller.data_scope == "all" else tenant_of(caller)),
    )
    found = await page_of_rows(
        session,
        cast("Select[Any]", _installations().where(*equal(*wanted))),
        _INSTALLATION_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"installations {caller.data_scope} {caller.tenant_id} {device_id} {app_id} {app_version_id} {state}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    devices = {row[0].device_id for row in found.items}
    shown = await versions_of(session, *(entities.installations(device) for device in devices))
    items = [_installation(row) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def place_of(session: AsyncSession, installation_id: UUID) -> tuple[UUID, UUID]:
    """The installation's device and tenant. Raises NotFound."""
    places = select(InstallationRow.device_id, InstallationRow.tenant_id).where(InstallationRow.id == installation_id)
    found = (await session.execute(places)).one_or_none()
    if found is None:
        raise NotFound
    return found.device_id, found.tenant_id


async def statistics(session: AsyncSession, caller: Caller) -> Answer[AppStatistics]:
    apps = select(func.count(), func.count().filter(AppRow.published)).select_from(AppRow).where(seen_by(caller))
    total, published = (await session.execute(apps)).one()
    installed = select(func.count()).select_from(InstallationRow).where(InstallationRow.state == "installed")
    if caller.data_scope != "all":
        installed = installed.where(InstallationRow.tenant_id == tenant_of(caller))
    count = await session.scalar(installed) or 0
    return Answer(data=AppStatistics(apps=total, published=published, installations=count), entities={})


async def categories(session: AsyncSession, caller: Caller) -> Answer[list[Category]]:
    """Of the apps that the caller sees, by name."""
    counted = select(AppRow.category, func.count()).where(seen_by(caller)).group_by(AppRow.category)
    rows = (await session.execute(counted.order_by(AppRow.category).limit(MOST_CATEGORIES))).all()
    return Answer(data=[Category(name=name, apps=count) for name, count in rows], entities={})


async def icon_of(session: AsyncSession, caller: Caller, app_id: UUID) -> str:
    """The key of its picture. Raises NotFound when it has none."""
    key = await session.scalar(select(AppRow.icon_key).where(AppRow.id == app_id, seen_by(caller)))
    if key is None:
        raise NotFound
    return key


async def file_of(session: AsyncSession, version_id: UUID) -> tuple[str, int, str]:
    """Key, size in bytes and SHA-256 of a version's APK. Raises NotFound when it is not in the store."""
    version = await session.get(AppVersionRow, version_id)
    if version is None or version.object_key is None:
        raise NotFound("There is no file of this version")
    return version.object_key, version.size, version.sha256


def version_of(row: AppVersionRow) -> AppVersion:
    return AppVersion(
        **{name: getattr(row, name) for name in AppVersion.__struct_fields__ if name != "available"},
        available=row.object_key is not None,
    )


def _apps() -> Select[AppRow, str | None]:
    return select(AppRow, _latest_version().label("latest_version"))


def _latest_version() -> ScalarSelect[str]:
    newest = select(AppVersionRow.version_name).where(AppVersionRow.app_id == AppRow.id, AppVersionRow.published)
    return newest.order_by(AppVersionRow.version_code.desc()).limit(1).correlate(AppRow).scalar_subquery()


def _app(found: AppRow, latest_version: str | None, versions: dict[str, int]) -> App:
    return App(
        id=found.id,
        tenant_id=found.tenant_id,
        package_name=found.package_name,
        name=found.name,
        description=found.description,
        category=found.category,
        published=found.published,
        latest_version=latest_version,
        rating=round(found.rating, 2) if found.review_count else None,
        reviews=found.review_count,
        icon=found.icon_key is not None,
        created_at=found.created_at,
        updated_at=found.updated_at,
        version=versions[entities.app(found.id)],
    )


def _installations() -> Select[InstallationRow, str, str]:
    return (
        select(InstallationRow, AppRow.name, AppVersionRow.version_name)
        .join(AppRow, AppRow.id == InstallationRow.app_id)
        .join(AppVersionRow, AppVersionRow.id == InstallationRow.app_version_id)
    )


def _installation(row: Any) -> Installation:
    found = row[0]
    fields = {name: getattr(found, name) for name in Installation.__struct_fields__ if hasattr(found, name)}
    return Installation(**fields, app_name=row[1], version_name=row[2])

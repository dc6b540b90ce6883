"""What the app service does with its catalogue: one function per use case, in the caller's transaction.

An app that the caller may not see is NotFound, exactly as one that is not there.
"""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, structs
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import AppCreate, AppPatch, AppVersionCreate
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import AlreadyExists, Conflict, Forbidden, NotFound
from cloudphone_shared.events.app import AppChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import AppRow, AppVersionRow, InstallationRow
from .scope import managed_by, seen_by, tenant_of
from .states import TERMINAL

_UNIQUE_VIOLATION = "23505"


async def create_app(session: AsyncSession, caller: Caller, new: AppCreate, at: datetime) -> UUID:
    """Into every tenant's store by who sees all tenants, into the own tenant's by others."""
    tenant_id = None if caller.data_scope == "all" else tenant_of(caller)
    if tenant_id is None and caller.data_scope != "all":
        raise Forbidden("Apps belong to a tenant, or to all of them")
    app = AppRow(
        id=uuid7(),
        tenant_id=tenant_id,
        **structs.asdict(new),
        created_at=at,
        updated_at=at,
    )
    session.add(app)
    await _flush(session, f"The store has {new.package_name} already")
    await announce_app(session, app, "created")
    return app.id


async def change_app(
    session: AsyncSession, caller: Caller, app_id: UUID, patch: AppPatch, *, expected: int | None, at: datetime
) -> None:
    app = await app_to_change(session, caller, app_id, expected)
    wanted = structs.asdict(patch)
    changed = [field for field, value in wanted.items() if value is not UNSET and value != getattr(app, field)]
    if not changed:
        return
    for field in changed:
        setattr(app, field, wanted[field])
    app.updated_at = at
    await announce_app(session, app, *changed)


async def delete_app(
    session: AsyncSession, caller: Caller, app_id: UUID, *, expected: int | None, at: datetime
) -> dict[str, int]:
    """Raises Conflict while it is installed, or on its way, somewhere."""
    app = await app_to_change(session, caller, app_id, expected)
    live = exists().where(InstallationRow.app_id == app_id, InstallationRow.state.not_in(TERMINAL))
    if await session.scalar(select(live)):
        raise Conflict("The app is installed on devices")
    app.deleted_at = app.updated_at = at
    gone = entities.app(app_id)
    event = AppChanged(app_id=app_id, package_name=app.package_name, changed=["deleted"])
    return await announce(session, event, gone, deleted=[gone])


async def add_version(
    session: AsyncSession, caller: Caller, app_id: UUID, new: AppVersionCreate, at: datetime
) -> AppVersionRow:
    """Raises AlreadyExists for a version code that the app has: versions are immutable."""
    app = await app_to_change(session, caller, app_id, None)
    version = AppVersionRow(
        id=uuid7(),
        app_id=app_id,
        **{**structs.asdict(new), "abis": list(dict.fromkeys(new.abis))},
        created_at=at,
    )
    session.add(version)
    app.updated_at = at
    await _flush(session, f"The app has version {new.version_code} already")
    await announce_app(session, app, "versions")
    return version


async def announce_app(session: AsyncSession, app: AppRow, *changed: str) -> None:
    event = AppChanged(app_id=app.id, package_name=app.package_name, changed=list(changed))
    await announce(session, event, entities.app(app.id))


async def app_to_change(session: AsyncSession, caller: Caller, app_id: UUID, expected: int | None) -> AppRow:
    statement = select(AppRow).where(AppRow.id == app_id, AppRow.deleted_at.is_(None)).with_for_update()
    app = (await session.scalars(statement)).one_or_none()
    versions = await versions_of(session, entities.app(app_id))
    if app is None or not await _holds(session, app_id, seen_by(caller)):
        raise NotFound(entities=versions)
    if not await _holds(session, app_id, managed_by(caller)):
        raise Forbidden("The app is in every tenant's store: only who sees them all may change it")
    check_version(expected, versions[entities.app(app_id)])
    return app


async def _holds(session: AsyncSession, app_id: UUID, condition: ColumnElement[bool]) -> bool:
    return await session.scalar(select(AppRow.id).where(AppRow.id == app_id, condition)) is not None


async def _flush(session: AsyncSession, taken: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION:
            raise AlreadyExists(taken) from None
        raise

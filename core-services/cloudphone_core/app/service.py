"""What the app service does: one function per use case, in the caller's transaction.

An app or an installation that the caller may not see is NotFound, exactly as one that is not there.
"""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, structs
from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import (
    AppCreate,
    AppPatch,
    AppVersionCreate,
    InstallationState,
)
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.database import Announcement, announce, announce_all, versions_of
from cloudphone_shared.errors import AlreadyExists, Conflict, Forbidden, NotFound, StateConflict
from cloudphone_shared.events.app import AppChanged, InstallationChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import AppRow, AppVersionRow, InstallationRow
from .scope import managed_by, seen_by, tenant_of
from .states import OF_CUSTOMERS, STEPS, TERMINAL, WITHOUT_ITS_VOLUME, check_step

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


async def install(
    session: AsyncSession, caller: Caller, device: Device, app_version_id: UUID, at: datetime
) -> InstallationRow:
    """Raises NotFound for a version that is not in the store of the device's tenant or not the caller's to install,
    AlreadyExists while the package is on the device or on its way there."""
    version, app = await _in_store(session, caller, device, app_version_id)
    before = await session.scalar(
        select(func.max(InstallationRow.attempt)).where(
            InstallationRow.device_id == device.id, InstallationRow.package_name == app.package_name
        )
    )
    installation = InstallationRow(
        id=uuid7(),
        tenant_id=device.tenant_id,
        device_id=device.id,
        app_id=app.id,
        app_version_id=version.id,
        package_name=app.package_name,
        state="pending",
        attempt=(before or 0) + 1,
        created_at=at,
        updated_at=at,
    )
    session.add(installation)
    await _flush(session, f"{app.package_name} is on the device, or on its way there")
    await announce(session, _changed(installation, None), entities.installations(device.id))
    return installation


async def take_step(
    session: AsyncSession, caller: Caller, installation_id: UUID, state: InstallationState, at: datetime
) -> InstallationRow:
    """Customers cancel and uninstall; the other steps are reports. Raises StateConflict for one that the table does
    not have. Whether the caller may see the installation has been asked before."""
    if state not in OF_CUSTOMERS:
        caller.require("apps:manage")
    installation = await _locked(session, installation_id)
    before = installation.state
    _step(installation, state, at)
    await announce(session, _changed(installation, before), entities.installations(installation.device_id))
    return installation


async def remove_record(session: AsyncSession, installation_id: UUID) -> dict[str, int]:
    """Of an installation that has ended. Raises StateConflict for another."""
    installation = await _locked(session, installation_id)
    if installation.state not in TERMINAL:
        raise StateConflict(
            f"An installation that is {installation.state} has not ended",
            current_state=installation.state,
            allowed=list(STEPS[installation.state]),
        )
    await session.delete(installation)
    gone = _changed(installation, installation.state, gone=True)
    return await announce(session, gone, entities.installations(installation.device_id))


async def end_all(session: AsyncSession, device_id: UUID, lost_at: datetime) -> None:
    """The device lost its volume at `lost_at`, with whatever was asked for before; each ends as the table has it."""
    live = (
        select(InstallationRow)
        .where(
            InstallationRow.device_id == device_id,
            InstallationRow.created_at <= lost_at,
            InstallationRow.state.not_in(TERMINAL),
        )
        .order_by(InstallationRow.id)
        .with_for_update()
    )
    told: list[Announcement] = []
    for installation in (await session.scalars(live)).all():
        for state in WITHOUT_ITS_VOLUME[installation.state]:
            before = installation.state
            _step(installation, state, lost_at)
            told.append(
                Announcement(event=_changed(installation, before), entities=[entities.installations(device_id)])
            )
    await announce_all(session, told)


def _step(installation: InstallationRow, state: InstallationState, at: datetime) -> None:
    check_step(installation.state, state)
    installation.state, installation.updated_at = state, at
    if state == "installed":
        installation.installed_at = at


def _changed(
    installation: InstallationRow, before: InstallationState | None, *, gone: bool = False
) -> InstallationChanged:
    return InstallationChanged(
        installation_id=installation.id,
        device_id=installation.device_id,
        app_id=installation.app_id,
        old_state=before,
        new_state=None if gone else installation.state,
        tenant_id=installation.tenant_id,
    )


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


async def _in_store(
    session: AsyncSession, caller: Caller, device: Device, app_version_id: UUID
) -> tuple[AppVersionRow, AppRow]:
    """The app's row is locked against its deletion meanwhile."""
    version = await session.get(AppVersionRow, app_version_id)
    if version is not None:
        of_store = or_(AppRow.tenant_id.is_(None), AppRow.tenant_id == device.tenant_id)
        statement = select(AppRow).where(AppRow.id == version.app_id, seen_by(caller), of_store)
        app = (await session.scalars(statement.with_for_update(read=True))).one_or_none()
        if app is not None:
            return version, app
    raise NotFound("There is no such version in the store")


async def _locked(session: AsyncSession, installation_id: UUID) -> InstallationRow:
    installation = await session.get(InstallationRow, installation_id, with_for_update=True)
    if installation is None:
        raise NotFound
    return installation


async def _flush(session: AsyncSession, taken: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION:
            raise AlreadyExists(taken) from None
        raise

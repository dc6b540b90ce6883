"""What is asked for an app on a device: to be installed, given up, tried again, taken off. The device service does it,
and what it reports comes in by `reporting`.

One installation of a package is under way on a device at a time, and one stands. A higher version is a new installation
that takes the standing one's place when it arrives.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.contracts.device import Device, Template
from cloudphone_shared.database import Announcement, announce_all
from cloudphone_shared.errors import AlreadyExists, Conflict, DomainError, NotFound, StateConflict
from cloudphone_shared.events.app import (
    AppInstallCancelled,
    AppInstallRequested,
    AppUninstallRequested,
    InstallationChanged,
)
from cloudphone_shared.ids import uuid7

from .models import AppRow, AppVersionRow, InstallationRow
from .platforms import refused_by_phone
from .scope import seen_by
from .states import OF_CUSTOMERS, STANDING, STEPS, TERMINAL, UNDER_WAY, check_step

PATIENCE_SECONDS = 1800.0
"""From the last that was heard of an installation until it counts as failed."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device to install on; `template` None: nothing is known of what it can run."""

    device: Device
    template: Template | None


async def install_all(
    session: AsyncSession,
    caller: Caller,
    targets: Sequence[Target],
    app_version_id: UUID,
    at: datetime,
    *,
    retry_of: UUID | None = None,
) -> list[InstallationRow | DomainError]:
    """The installation that begins on each, or why there is none, in their order. All at once or, after an error, none.

    Raises NotFound for a version that the caller's store does not have, Conflict for one without a file.
    """
    version, app = await _version(session, caller, app_version_id)
    attempts = await _attempts(session, app.package_name, targets)
    standing = await _standing(session, app.package_name, targets)
    wanted: dict[UUID, InstallationRow | DomainError] = {}
    for target in targets:
        device, present = target.device, standing.get(target.device.id)
        refusal = _refused(app, version, target, present)
        wanted[device.id] = refusal or InstallationRow(
            id=uuid7(),
            tenant_id=device.tenant_id,
            device_id=device.id,
            app_id=app.id,
            app_version_id=version.id,
            package_name=app.package_name,
            state="pending",
            attempt=attempts.get(device.id, 0) + 1,
            user_id=device.owner_id,
            requested_by=caller.id,
            purpose="install",
            progress=0,
            retry_of=retry_of,
            replaces=present[0].id if present else None,
            deadline_at=at + timedelta(seconds=PATIENCE_SECONDS),
            created_at=at,
            updated_at=at,
        )
    made = await _insert(session, [row for row in wanted.values() if isinstance(row, InstallationRow)])
    taken = AlreadyExists(f"{app.package_name} is on its way to the device")
    for device_id, row in wanted.items():
        if isinstance(row, InstallationRow) and row.id not in made:
            wanted[device_id] = taken
    begun = [row for row in wanted.values() if isinstance(row, InstallationRow)]
    await announce_all(session, [told for row in begun for told in _begun(row, version)])
    return list(wanted.values())


async def install(
    session: AsyncSession,
    caller: Caller,
    target: Target,
    app_version_id: UUID,
    at: datetime,
    *,
    retry_of: UUID | None = None,
) -> InstallationRow:
    """Raises what `install_all` does, and what it refuses the one device with."""
    found = (await install_all(session, caller, [target], app_version_id, at, retry_of=retry_of))[0]
    if isinstance(found, DomainError):
        raise found
    return found


async def cancel(session: AsyncSession, installation_id: UUID, at: datetime) -> InstallationRow:
    """Asks for it. It is cancelled, or after all installed, when the device says so. Raises StateConflict."""
    row = await locked(session, installation_id)
    if row.state not in UNDER_WAY:
        raise _out_of_turn(row, "cancelled")
    if row.cancel_requested_at is None:
        row.cancel_requested_at = row.updated_at = at
        await announce_all(session, [shown(row, row.state), _cancelled(row)])
    return row


async def uninstall(session: AsyncSession, installation_id: UUID, at: datetime) -> InstallationRow:
    """Raises StateConflict unless it stands installed, Conflict while another version is on its way."""
    row = await locked(session, installation_id)
    check_step(row.state, "uninstalling")
    await _check_alone(session, row)
    before = row.state
    _begin_uninstalling(row, at)
    await announce_all(session, [shown(row, before), _uninstalling(row)])
    return row


async def retry(
    session: AsyncSession, caller: Caller, installation_id: UUID, target: Target, at: datetime
) -> InstallationRow:
    """A new attempt at what failed or was cancelled, in a record of its own. Raises StateConflict for another state."""
    former = await locked(session, installation_id)
    if former.state not in ("failed", "cancelled"):
        raise _out_of_turn(former, "tried again")
    if former.purpose == "install":
        return await install(session, caller, target, former.app_version_id, at, retry_of=former.id)
    await _check_alone(session, former)
    attempts = await _attempts(session, former.package_name, [target])
    row = InstallationRow(
        id=uuid7(),
        tenant_id=former.tenant_id,
        device_id=former.device_id,
        app_id=former.app_id,
        app_version_id=former.app_version_id,
        package_name=former.package_name,
        state="uninstalling",
        attempt=attempts.get(former.device_id, 0) + 1,
        user_id=target.device.owner_id,
        requested_by=caller.id,
        progress=0,
        retry_of=former.id,
        installed_at=former.installed_at,
        created_at=at,
        updated_at=at,
    )
    _begin_uninstalling(row, at)
    if not await _insert(session, [row]):
        raise AlreadyExists(f"Another installation of {former.package_name} stands on the device")
    await announce_all(session, [shown(row, None), _uninstalling(row)])
    return row


async def take_step(
    session: AsyncSession, caller: Caller, installation_id: UUID, state: InstallationState, at: datetime
) -> InstallationRow:
    """A customer asks for an end or for uninstalling; staff that manages apps puts a record right, along the table.

    Raises StateConflict for a step that the table does not have. Whether the caller may see the installation has been
    asked before.
    """
    if state not in OF_CUSTOMERS:
        caller.require("apps:manage")
    if not caller.may("apps:manage"):
        act = cancel if state == "cancelled" else uninstall
        return await act(session, installation_id, at)
    row = await locked(session, installation_id)
    before = row.state
    check_step(before, state)
    if state == "uninstalling":
        _begin_uninstalling(row, at)
    else:
        settle(row, state, at)
    told = [shown(row, before)]
    if state == "uninstalling":
        told.append(_uninstalling(row))
    if state == "cancelled":
        told.append(_cancelled(row))
    await announce_all(session, told)
    return row


async def remove_record(session: AsyncSession, installation_id: UUID) -> dict[str, int]:
    """Of an installation that has ended. Raises StateConflict for another."""
    row = await locked(session, installation_id)
    if row.state not in TERMINAL:
        raise StateConflict(
            f"An installation that is {row.state} has not ended",
            current_state=row.state,
            allowed=list(STEPS[row.state]),
        )
    await session.delete(row)
    return await announce_all(session, [shown(row, row.state, gone=True)])


def settle(row: InstallationRow, state: InstallationState, at: datetime) -> None:
    """Into a state that is its own to stay in, or nearer to one."""
    row.state, row.updated_at = state, at
    if state == "installed":
        row.installed_at, row.progress = at, 100
    if state not in UNDER_WAY and state != "uninstalling":
        row.deadline_at = None


def shown(row: InstallationRow, before: InstallationState | None, *, gone: bool = False) -> Announcement:
    event = InstallationChanged(
        installation_id=row.id,
        device_id=row.device_id,
        app_id=row.app_id,
        old_state=before,
        new_state=None if gone else row.state,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        progress=row.progress,
    )
    return Announcement(event=event, entities=[entities.installations(row.device_id)])


def give_up(row: InstallationRow) -> Announcement:
    """Tells the device not to go on."""
    return _cancelled(row)


async def locked(session: AsyncSession, installation_id: UUID) -> InstallationRow:
    row = await session.get(InstallationRow, installation_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound
    return row


async def _check_alone(session: AsyncSession, row: InstallationRow) -> None:
    """Raises Conflict while a version of the package is on its way: the device would take that off, too."""
    on_its_way = select(InstallationRow.id).where(
        InstallationRow.device_id == row.device_id,
        InstallationRow.package_name == row.package_name,
        InstallationRow.state.in_(UNDER_WAY),
    )
    if await session.scalar(on_its_way):
        raise Conflict("Another version is on its way to the device: cancel that first")


def _begin_uninstalling(row: InstallationRow, at: datetime) -> None:
    row.state, row.purpose, row.progress, row.updated_at = "uninstalling", "uninstall", 0, at
    row.deadline_at = at + timedelta(seconds=PATIENCE_SECONDS)


async def _version(session: AsyncSession, caller: Caller, app_version_id: UUID) -> tuple[AppVersionRow, AppRow]:
    """The app's row is locked against its deletion meanwhile."""
    version = await session.get(AppVersionRow, app_version_id)
    if version is not None and (version.published or caller.may("apps:manage")):
        statement = select(AppRow).where(AppRow.id == version.app_id, seen_by(caller)).with_for_update(read=True)
        app = (await session.scalars(statement)).one_or_none()
        if app is not None:
            return version, app
    raise NotFound("There is no such version in the store")


def _refused(
    app: AppRow, version: AppVersionRow, target: Target, present: tuple[InstallationRow, int] | None
) -> DomainError | None:
    if app.tenant_id not in (None, target.device.tenant_id):
        return NotFound("There is no such version in the store")
    if version.object_key is None:
        return Conflict("The APK of this version is not in the store: upload it first", reason="no-file")
    if target.template is not None and (why := refused_by_phone(version, target.template)):
        return Conflict(why.detail, reason=why.code)
    if present is None:
        return None
    row, code = present
    if row.state == "uninstalling":
        return AlreadyExists(f"{app.package_name} is being taken off the device")
    if code == version.version_code:
        return AlreadyExists(f"{app.package_name} is on the device in this version")
    if code > version.version_code:
        return Conflict(
            f"A higher version of {app.package_name} is on the device: uninstall it first", reason="downgrade"
        )
    return None


async def _attempts(session: AsyncSession, package: str, targets: Sequence[Target]) -> Mapping[UUID, int]:
    highest = select(InstallationRow.device_id, func.max(InstallationRow.attempt))
    rows = await session.execute(highest.where(*_of(package, targets)).group_by(InstallationRow.device_id))
    return {row[0]: row[1] for row in rows.all()}


async def _standing(
    session: AsyncSession, package: str, targets: Sequence[Target]
) -> Mapping[UUID, tuple[InstallationRow, int]]:
    """What stands on each device, with its version code."""
    statement = select(InstallationRow, AppVersionRow.version_code)
    statement = statement.join(AppVersionRow, AppVersionRow.id == InstallationRow.app_version_id)
    statement = statement.where(*_of(package, targets), InstallationRow.state.in_(STANDING))
    # Nobody begins to take it off before the caller's own is seen to be on its way.
    held = statement.order_by(InstallationRow.id).with_for_update(read=True, of=InstallationRow)
    rows = await session.execute(held)
    return {row.device_id: (row, code) for row, code in rows.all()}


def _of(package: str, targets: Sequence[Target]) -> tuple[ColumnElement[bool], ...]:
    devices = [target.device.id for target in targets]
    return InstallationRow.package_name == package, InstallationRow.device_id.in_(devices)


async def _insert(session: AsyncSession, rows: Sequence[InstallationRow]) -> set[UUID]:
    """The ids of those that went in: where one is under way already, or stands, the index lets no other by."""
    if not rows:
        return set()
    columns = InstallationRow.__table__.columns.keys()
    values = [{name: getattr(row, name) for name in columns} for row in rows]
    statement = insert(InstallationRow).values(values).on_conflict_do_nothing().returning(InstallationRow.id)
    return set((await session.scalars(statement)).all())


def _begun(row: InstallationRow, version: AppVersionRow) -> list[Announcement]:
    asked = AppInstallRequested(
        installation_id=row.id,
        device_id=row.device_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        app_version_id=version.id,
        package_name=row.package_name,
        version_code=version.version_code,
        url=f"/v1/app-versions/{version.id}/apk",
        sha256=version.sha256,
        size=version.size,
        abis=version.abis,
        attempt=row.attempt,
    )
    return [shown(row, None), Announcement(event=asked)]


def _cancelled(row: InstallationRow) -> Announcement:
    event = AppInstallCancelled(
        installation_id=row.id, device_id=row.device_id, tenant_id=row.tenant_id, attempt=row.attempt
    )
    return Announcement(event=event)


def _uninstalling(row: InstallationRow) -> Announcement:
    event = AppUninstallRequested(
        installation_id=row.id,
        device_id=row.device_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        package_name=row.package_name,
        attempt=row.attempt,
    )
    return Announcement(event=event)


def _out_of_turn(row: InstallationRow, wanted: str) -> StateConflict:
    return StateConflict(
        f"An installation that is {row.state} cannot be {wanted}",
        current_state=row.state,
        allowed=list(STEPS[row.state]),
    )

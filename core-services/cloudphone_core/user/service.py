"""What identity does with tenants and users: one function per use case, in the caller's transaction."""

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, structs
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.user import DataScope, Registration, Role, TenantCreate, UserCreate, UserPatch
from cloudphone_shared.database import Announcement, announce, announce_all, versions_of
from cloudphone_shared.errors import AlreadyExists, Conflict, Forbidden, NotFound, StateConflict
from cloudphone_shared.events.envelope import Event
from cloudphone_shared.events.user import SessionsRevoked, TenantCreated, UserCreated, UserDeleted, UserUpdated
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import TenantRow, UserRow
from .queries import is_seen, not_found
from .rules import check_authority, check_grant, scope_for
from .sessions import end_sessions, lock_user, revoke_sessions

Touched = dict[str, int]
"""The entities that a use case changed, with their new versions."""


def email_key(email: str) -> str:
    """An address as it is compared: two that differ in case alone are one."""
    return unicodedata.normalize("NFC", email.strip()).casefold()


async def create_tenant(session: AsyncSession, new: TenantCreate, at: datetime) -> tuple[TenantRow, Touched]:
    """Raises AlreadyExists when the slug is taken."""
    tenant = TenantRow(id=uuid7(), name=new.name, slug=new.slug, created_at=at)
    session.add(tenant)
    await _flush(session, f"There is a tenant {new.slug} already")
    event = TenantCreated(tenant_id=tenant.id, name=tenant.name)
    return tenant, await announce(session, event, entities.tenant(tenant.id), entities.tenants())


async def create_user(
    session: AsyncSession, caller: Caller, new: UserCreate, password_hash: str, at: datetime
) -> tuple[UserRow, Touched]:
    """Raises Forbidden for a role, data scope or tenant that the caller cannot give, NotFound for an unknown tenant,
    AlreadyExists for a taken address.
    """
    scope = new.data_scope or scope_for(new.role)
    check_grant(caller, new.role, scope)
    tenant_id = new.tenant_id or UUID(caller.tenant_id)
    if not caller.sees(tenant_id, None):
        raise Forbidden("Only who sees all tenants may create a user in another one")
    if await session.get(TenantRow, tenant_id) is None:
        raise NotFound("There is no such tenant", entities=await versions_of(session, entities.tenant(tenant_id)))
    user = _new_user(new.name, new.email, tenant_id, new.role, scope, password_hash, at)
    user.phone, user.locale = new.phone, new.locale
    return user, await _add_user(session, user)


async def register_customer(
    session: AsyncSession, new: Registration, password_hash: str, at: datetime
) -> tuple[UserRow, Touched]:
    """Raises NotFound for an unknown tenant, AlreadyExists."""
    tenant_id = await session.scalar(select(TenantRow.id).where(TenantRow.slug == new.tenant))
    if tenant_id is None:
        raise NotFound(f"There is no tenant {new.tenant}")
    user = _new_user(new.name, new.email, tenant_id, "customer", "self", password_hash, at)
    return user, await _add_user(session, user)


async def add_first_administrator(
    session: AsyncSession, *, tenant: TenantCreate, name: str, email: str, password_hash: str, at: datetime
) -> UserRow:
    """An administrator of the whole platform, in `tenant`, which is created when its slug is unknown.

    Raises Conflict when somebody administers the platform already, AlreadyExists when the address is taken.
    """
    await _one_at_a_time(session)
    if await session.scalar(select(func.count()).where(*_administers(), UserRow.data_scope == "all")):
        raise Conflict("The platform has an administrator already, who can create others")
    tenant_id = await session.scalar(select(TenantRow.id).where(TenantRow.slug == tenant.slug))
    if tenant_id is None:
        tenant_id = (await create_tenant(session, tenant, at))[0].id
    user = _new_user(name, email, tenant_id, "admin", "all", password_hash, at)
    await _add_user(session, user)
    return user


async def change_user(
    session: AsyncSession, caller: Caller, user_id: UUID, patch: UserPatch, expected: int | None, at: datetime
) -> tuple[UserRow, Touched]:
    """A new role or data scope ends the user's sessions. Raises NotFound, Forbidden, PreconditionFailed, AlreadyExists,
    Conflict where no administrator would be left.
    """
    if patch.role is not UNSET or patch.data_scope is not UNSET:
        await _one_at_a_time(session)
    user = await _user_to_change(session, caller, user_id, expected)
    changes = _changes(caller, user, patch)
    promoted = changes.keys() & {"role", "data_scope"}
    if promoted:
        check_grant(caller, changes.get("role", user.role), changes.get("data_scope", user.data_scope))
        await _keep_an_administrator(session, caller, user)
    for field, value in changes.items():
        setattr(user, field, value)
    if "email" in changes:
        user.email_key = email_key(user.email)
    if not changes:
        return user, {}
    user.updated_at = at
    await _flush(session, f"There is an account with the address {user.email} already")
    changed = _updated(user, changes)
    return user, await _announce_with_end_of_sessions(session, user, changed, "role changed" if promoted else None)


async def suspend_user(
    session: AsyncSession, caller: Caller, user_id: UUID, reason: str, expected: int | None, at: datetime
) -> tuple[UserRow, Touched]:
    """Ends the user's sessions too. Raises NotFound, Forbidden, PreconditionFailed, StateConflict, Conflict."""
    await _one_at_a_time(session)
    user = await _user_to_change(session, caller, user_id, expected)
    _check_status(user, "active", "inactive")
    await _keep_an_administrator(session, caller, user)
    user.status, user.suspension_reason, user.updated_at = "suspended", reason, at
    await revoke_sessions(session, user.id, "suspended", at)
    return user, await _announce_with_end_of_sessions(session, user, _updated(user, ["status"]), "suspended")


async def reinstate_user(
    session: AsyncSession, caller: Caller, user_id: UUID, expected: int | None, at: datetime
) -> tuple[UserRow, Touched]:
    """Raises NotFound, Forbidden, PreconditionFailed, StateConflict."""
    user = await _user_to_change(session, caller, user_id, expected)
    _check_status(user, "suspended")
    user.status, user.suspension_reason, user.updated_at = "active", None, at
    return user, await announce(session, _updated(user, ["status"]), entities.user(user.id))


async def delete_user(
    session: AsyncSession, caller: Caller, user_id: UUID, expected: int | None, at: datetime
) -> Touched:
    """What could tell who it was is overwritten; the row stays, for what refers to it. The address is free again.

    Raises NotFound, Forbidden, PreconditionFailed, Conflict.
    """
    await _one_at_a_time(session)
    user = await _user_to_change(session, caller, user_id, expected)
    await _keep_an_administrator(session, caller, user)
    user.name, user.email, user.email_key = "Deleted user", f"deleted-{user.id}@invalid", None
    user.password_hash = user.phone = user.suspension_reason = user.last_active_at = None
    user.status, user.deleted_at, user.updated_at = "deleted", at, at
    await revoke_sessions(session, user.id, "deleted", at)
    gone, ended = entities.user(user.id), entities.sessions(user.id)
    return await announce_all(
        session,
        [
            Announcement(
                event=UserDeleted(user_id=user.id, tenant_id=user.tenant_id),
                entities=[entities.users_of(user.tenant_id)],
                deleted=[gone],
            ),
            Announcement(event=SessionsRevoked(user_id=user.id, reason="deleted"), deleted=[ended]),
        ],
    )


async def change_password(session: AsyncSession, user_id: UUID, password_hash: str, at: datetime) -> Touched:
    """Ends every session of the user. The present password has been checked."""
    user = await lock_user(session, user_id)
    if user is None:
        raise await not_found(session, user_id)
    user.password_hash = password_hash
    return await end_sessions(session, user_id, "password changed", at)


def _new_user(
    name: str, email: str, tenant_id: UUID, role: Role, scope: DataScope, password_hash: str, at: datetime
) -> UserRow:
    return UserRow(
        id=uuid7(),
        tenant_id=tenant_id,
        name=name,
        email=email,
        email_key=email_key(email),
        password_hash=password_hash,
        role=role,
        data_scope=scope,
        status="active",
        locale="en",
        created_at=at,
        updated_at=at,
    )


async def _add_user(session: AsyncSession, user: UserRow) -> Touched:
    session.add(user)
    await _flush(session, f"There is an account with the address {user.email} already")
    event = UserCreated(user_id=user.id, tenant_id=user.tenant_id, name=user.name, email=user.email, role=user.role)
    return await announce(session, event, entities.user(user.id), entities.users_of(user.tenant_id))


async def _flush(session: AsyncSession, taken: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == "23505":
            raise AlreadyExists(taken) from None
        raise


async def _one_at_a_time(session: AsyncSession) -> None:
    # Two administrators who demote each other at once would each still see the other.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext("cloudphone administrators"))))


async def _user_to_change(session: AsyncSession, caller: Caller, user_id: UUID, expected: int | None) -> UserRow:
    user = await lock_user(session, user_id)
    if user is None or not is_seen(caller, user):
        raise await not_found(session, user_id)
    check_authority(caller, user.id, user.role, user.data_scope)
    entity = entities.user(user_id)
    check_version(expected, (await versions_of(session, entity))[entity])
    return user


def _changes(caller: Caller, user: UserRow, patch: UserPatch) -> dict[str, Any]:
    """What the patch makes different. Raises Forbidden for a field that the caller may not change."""
    wanted = {name: value for name, value in structs.asdict(patch).items() if value is not UNSET}
    changes = {name: value for name, value in wanted.items() if value != getattr(user, name)}
    if "role" in changes and "data_scope" not in wanted:
        changes["data_scope"] = scope_for(changes["role"], keeping=user.data_scope)
    restricted = {"role", "data_scope"} if caller.id == str(user.id) else {"role", "data_scope", "email"}
    if changes.keys() & restricted:
        caller.require("users:manage")
    return {name: value for name, value in changes.items() if value != getattr(user, name)}


def _administers() -> tuple[Any, ...]:
    return UserRow.role == "admin", UserRow.status == "active", UserRow.deleted_at.is_(None)


async def _keep_an_administrator(session: AsyncSession, caller: Caller, user: UserRow) -> None:
    """Raises Conflict when `user` is the platform's last administrator, or, to the tenant's own, the tenant's last."""
    if user.role != "admin" or user.status != "active":
        return
    others = select(func.count()).where(*_administers(), UserRow.id != user.id)
    if user.data_scope == "all" and not await session.scalar(others.where(UserRow.data_scope == "all")):
        raise Conflict("This is the platform's last administrator: name another one first")
    if caller.data_scope != "all" and not await session.scalar(others.where(UserRow.tenant_id == user.tenant_id)):
        raise Conflict("This is the tenant's last administrator: name another one first")


def _check_status(user: UserRow, *allowed: str) -> None:
    if user.status not in allowed:
        raise StateConflict(f"The account is {user.status}", current_state=user.status, allowed=list(allowed))


def _updated(user: UserRow, changed: Iterable[str]) -> UserUpdated:
    names = [_JSON_NAMES.get(name, name) for name in changed]
    return UserUpdated(
        user_id=user.id,
        tenant_id=user.tenant_id,
        name=user.name,
        email=user.email,
        status=user.status,
        changed=names,
    )


_JSON_NAMES = {"data_scope": "dataScope"}


async def _announce_with_end_of_sessions(
    session: AsyncSession, user: UserRow, event: Event, reason: str | None
) -> Touched:
    announcements = [Announcement(event=event, entities=[entities.user(user.id)])]
    if reason:
        ended = SessionsRevoked(user_id=user.id, reason=reason)
        announcements.append(Announcement(event=ended, entities=[entities.sessions(user.id)]))
    return await announce_all(session, announcements)

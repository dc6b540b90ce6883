"""Sharing a device: its user gives another of the same tenant leave to see or control it, for a time.

A grant is in force until its end, or until it is revoked, and only as long as who gave it holds the device. Nobody has
to end one whose time is over: every answer leaves it out from then on.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.clients import Listing
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.phone import Grant, GrantCreate
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import versions_of
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.errors import AlreadyExists, FieldError, Forbidden, Invalid, NotFound
from cloudphone_shared.events.device import DeviceShared
from cloudphone_shared.ids import uuid7

from .models import DeviceRow, GrantRow

MOST_OF_A_DEVICE = 50
MOST_OF_A_USER = 200
_SEARCHED = 100
"""Characters of an address that the user service searches by at most."""


async def find_user(core: CoreClients, caller: Caller, email: str) -> User:
    """The active user of the caller's tenant with this address. Raises Invalid."""
    filters = {"tenantId": caller.tenant_id, "status": "active"}
    listing = Listing(limit=100, sort="email", search=email[:_SEARCHED], filters=filters)
    wanted = email.casefold()
    for user in (await core.user.page(listing)).items:
        if user.email.casefold() == wanted:
            return user
    message = "is the address of nobody in your organisation who could be given it"
    raise Invalid(f"That {message}", errors=[FieldError(field="email", message=message)])


async def held_device(session: AsyncSession, caller: Caller, device_id: UUID, *, lock: bool = False) -> DeviceRow:
    """The caller's own device. Raises NotFound; Forbidden where somebody else holds what the caller sees."""
    device = await session.get(DeviceRow, device_id, with_for_update=lock or None, populate_existing=True)
    if device is None or device.deleted_at is not None or not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound(entities=await versions_of(session, entities.device(device_id)))
    if str(device.owner_id) != caller.id:
        raise Forbidden("A device is shared by who holds it")
    return device


async def create_grant(
    session: AsyncSession, caller: Caller, device_id: UUID, user: User, wanted: GrantCreate
) -> tuple[UUID, dict[str, int]]:
    """Raises NotFound, Forbidden for who does not hold the device, Invalid, AlreadyExists."""
    device = await held_device(session, caller, device_id, lock=True)
    owner_id = UUID(caller.id)
    if user.id == owner_id or user.tenant_id != device.tenant_id:
        message = "must be another user's of the device's tenant"
        raise Invalid(f"The address {message}", errors=[FieldError(field="email", message=message)])
    now = datetime.now(UTC)
    given = (await session.scalars(_live(now).where(GrantRow.device_id == device_id))).all()
    if any(grant.user_id == user.id for grant in given):
        raise AlreadyExists("The user has a grant of this device already")
    if len(given) >= MOST_OF_A_DEVICE:
        raise Invalid(f"A device is shared with {MOST_OF_A_DEVICE} users at most")
    grant = GrantRow(
        id=uuid7(),
        device_id=device_id,
        tenant_id=device.tenant_id,
        owner_id=owner_id,
        user_id=user.id,
        user_name=user.name,
        access=wanted.access,
        until=now + timedelta(seconds=wanted.seconds),
        created_at=now,
    )
    session.add(grant)
    return grant.id, await announce_all(session, [_told(grant, grant.until)])


async def revoke_grant(session: AsyncSession, caller: Caller, grant_id: UUID) -> dict[str, int]:
    """By who gave it, or who was given it; once more changes nothing. Raises NotFound."""
    grant = await session.get(GrantRow, grant_id, with_for_update=True, populate_existing=True)
    if grant is None or caller.id not in (str(grant.owner_id), str(grant.user_id)):
        raise NotFound
    now = datetime.now(UTC)
    if grant.revoked_at is not None or grant.until <= now:
        return {}
    grant.revoked_at = now
    return await announce_all(session, [_told(grant, now)])


async def end_grants(session: AsyncSession, device_id: UUID) -> list[Announcement]:
    """For a device that is taken from its user or deleted, its row being locked: to be announced with that."""
    now = datetime.now(UTC)
    given = (await session.scalars(_unrevoked(now).where(GrantRow.device_id == device_id))).all()
    for grant in given:
        grant.revoked_at = now
    return [_told(grant, now) for grant in given]


async def grants_of_device(session: AsyncSession, caller: Caller, device_id: UUID) -> Answer[list[Grant]]:
    """Those in force, latest first. Raises NotFound."""
    shown = await versions_of(session, entities.grants(device_id), entities.device(device_id))
    device = await session.get(DeviceRow, device_id)
    if device is None or device.deleted_at is not None or not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound(entities=shown)
    return Answer(data=await _grants(session, GrantRow.device_id == device_id), entities=shown)


async def grants_of_user(session: AsyncSession, caller: Caller, user_id: UUID) -> Answer[list[Grant]]:
    """Those in force that a user has been given, latest first. Raises NotFound for who is not that user, nor staff."""
    shown = await versions_of(session, entities.grants_of(user_id))
    if caller.data_scope == "self" and caller.id != str(user_id):
        raise NotFound(entities=shown)
    here = sa.true() if caller.data_scope != "tenant" else GrantRow.tenant_id == UUID(caller.tenant_id)
    found = await _grants(session, sa.and_(GrantRow.user_id == user_id, here))
    shown |= await versions_of(session, *(entities.device(each.device_id) for each in found))
    return Answer(data=found, entities=shown)


async def grant_of(session: AsyncSession, caller: Caller, device_id: UUID, user_id: UUID) -> Answer[Grant]:
    """The grant in force that a user has of a device. Raises NotFound."""
    shown = await versions_of(session, entities.grants(device_id), entities.device(device_id))
    found = await _grants(session, sa.and_(GrantRow.device_id == device_id, GrantRow.user_id == user_id))
    if not found or not (caller.id == str(user_id) or caller.sees(found[0].tenant_id, found[0].owner_id)):
        raise NotFound(entities=shown)
    return Answer(data=found[0], entities=shown)


async def changed_grant(session: AsyncSession, grant_id: UUID, announced: dict[str, int]) -> Answer[Grant]:
    """A grant as this transaction leaves it: the answer to a write."""
    [grant] = await _grants(session, GrantRow.id == grant_id)
    return Answer(data=grant, entities=announced)


async def _grants(session: AsyncSession, which: ColumnElement[bool]) -> list[Grant]:
    rows = await session.execute(
        _live().add_columns(DeviceRow.name).where(which).order_by(GrantRow.id.desc()).limit(MOST_OF_A_USER)
    )
    return [_contract(grant, name) for grant, name in rows]


def _live(now: datetime | None = None) -> sa.Select[Any]:
    held = sa.and_(
        DeviceRow.id == GrantRow.device_id,
        DeviceRow.owner_id == GrantRow.owner_id,
        DeviceRow.deleted_at.is_(None),
    )
    return _unrevoked(now or datetime.now(UTC)).join(DeviceRow, held)


def _unrevoked(now: datetime) -> sa.Select[Any]:
    return sa.select(GrantRow).where(GrantRow.revoked_at.is_(None), GrantRow.until > now)


def _contract(grant: GrantRow, device_name: str) -> Grant:
    columns = [name for name in Grant.__struct_fields__ if name != "device_name"]
    return Grant(**{name: getattr(grant, name) for name in columns}, device_name=device_name)


def _told(grant: GrantRow, until: datetime) -> Announcement:
    shared = DeviceShared(
        grant_id=grant.id,
        device_id=grant.device_id,
        tenant_id=grant.tenant_id,
        owner_id=grant.owner_id,
        user_id=grant.user_id,
        until=until,
    )
    return Announcement(event=shared, entities=[entities.grants(grant.device_id), entities.grants_of(grant.user_id)])

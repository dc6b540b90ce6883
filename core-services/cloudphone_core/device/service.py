"""What can be done to a device: one function per use case, in the caller's transaction.

Each returns the versions that it announced. A device the caller may not see is NotFound, exactly as one that is not
there; a state that does not allow the act is StateConflict; a version other than `expected` PreconditionFailed.
"""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.device import DeviceCreate, DevicePatch, DeviceState
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import Conflict, Invalid, NotFound
from cloudphone_shared.events.device import DeviceCreated, DeviceDeleted, DeviceStatusChanged, DeviceUpdated
from cloudphone_shared.events.envelope import Event
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import DeviceRow, NodeRow, OwnerRow, StateLogRow, TemplateRow
from .owners import learn_owner
from .states import TRANSITIONS, check_transition, refusal

Versions = dict[str, int]

RELEASABLE = frozenset(state for state, following in TRANSITIONS.items() if "cleaning" in following)
"""The states from which a device can be taken from its owner."""


async def create_device(
    session: AsyncSession, caller: Caller, wanted: DeviceCreate, tenant_id: UUID
) -> tuple[UUID, Versions]:
    """Made and idle at once: a simulated device has nothing to build yet. Raises Invalid for an unknown node or
    template, Conflict for a node that takes no more devices."""
    if wanted.provider != "simulated":
        raise Invalid(f"Devices of the provider {wanted.provider} cannot be made here; simulated ones can")
    await _check_template(session, wanted.template_id)
    if wanted.node_id is not None:
        await _check_room(session, wanted.node_id)
    now = datetime.now(UTC)
    device = DeviceRow(
        id=uuid7(),
        tenant_id=tenant_id,
        name=wanted.name,
        node_id=wanted.node_id,
        template_id=wanted.template_id,
        provider=wanted.provider,
        desired_state="idle",
        state="creating",
        tags=list(dict.fromkeys(wanted.tags)),
        generation=1,
        created_at=now,
        updated_at=now,
    )
    session.add(device)
    await session.flush()
    _log(session, device, None, "created", caller.id)
    created = DeviceCreated(device_id=device.id, tenant_id=tenant_id, name=device.name)
    told = [_told(device, created), _move(session, device, "idle", "ready", caller.id)]
    return device.id, await announce_all(session, told)


async def change_device(
    session: AsyncSession, caller: Caller, device_id: UUID, patch: DevicePatch, expected: int | None
) -> Versions:
    """Name and tags. What is already as wanted is announced to nobody."""
    device = await _lock(session, caller, device_id, expected)
    changed: list[str] = []
    if patch.name is not msgspec.UNSET and patch.name != device.name:
        device.name = patch.name
        changed.append("name")
    if patch.tags is not msgspec.UNSET and (tags := list(dict.fromkeys(patch.tags))) != device.tags:
        device.tags = tags
        changed.append("tags")
    if not changed:
        return {}
    device.updated_at = datetime.now(UTC)
    # A user's devices are listed by name, so a new name may move the device in its owner's list.
    moved = device.owner_id if "name" in changed else None
    return await announce_all(session, [_told(device, _updated(device, changed), held_by=moved)])


async def assign_device(
    session: AsyncSession, caller: Caller, device_id: UUID, user: User, expected: int | None
) -> Versions:
    """Gives an idle device to `user`, as the user service answered. Raises Invalid for a user of another tenant, or
    one who is not active."""
    owner = await learn_owner(session, user.id, version=user.version, name=user.name, email=user.email)
    device = await _lock(session, caller, device_id, expected)
    if user.tenant_id != device.tenant_id or owner.deleted:
        raise unknown_owner(user.id)
    if user.status != "active":
        raise Invalid(f"The user {user.id} is {user.status}; only an active user can hold a device")
    check_transition(device.state, "allocated")
    device.owner_id, device.owner_name, device.owner_email = owner.id, owner.name, owner.email
    device.desired_state = "allocated"
    moved = _move(session, device, "allocated", "assigned", caller.id)
    return await announce_all(session, [moved, _told(device, _updated(device, ["ownerId"]), held_by=owner.id)])


def unknown_owner(user_id: UUID) -> Invalid:
    return Invalid(f"There is no user {user_id} in the device's tenant")


async def unassign_device(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    device = await _lock(session, caller, device_id, expected)
    return await announce_all(session, _release(session, device, "unassigned", caller.id))


async def release_devices_of(session: AsyncSession, user_id: UUID) -> None:
    """Takes every device from a user who is gone, as far as the devices' states allow it now."""
    await _release_devices_of_all(session, [user_id])


async def _release_devices_of_all(session: AsyncSession, user_ids: list[UUID]) -> None:
    held = (
        select(DeviceRow)
        .where(DeviceRow.owner_id.in_(user_ids), DeviceRow.state.in_(RELEASABLE))
        .order_by(DeviceRow.id)
        .with_for_update()
    )
    devices = (await session.scalars(held)).all()
    released = [_release(session, device, "owner deleted", "user") for device in devices]
    await announce_all(session, [one for told in released for one in told])


async def release_orphans(session: AsyncSession) -> int:
    """Takes the devices that were busy when their owner was deleted and are so no more. Returns how many owners had
    any, at most 100."""
    waiting = (
        select(DeviceRow.owner_id)
        .join(OwnerRow, OwnerRow.id == DeviceRow.owner_id)
        .where(OwnerRow.deleted, DeviceRow.state.in_(RELEASABLE))
        .distinct()
        .limit(100)
    )
    owners = [owner_id for owner_id in await session.scalars(waiting) if owner_id is not None]
    await _release_devices_of_all(session, owners)
    return len(owners)


async def enter_maintenance(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    device = await _lock(session, caller, device_id, expected)
    moved = _move(session, device, "maintenance", "maintenance began", caller.id)
    device.desired_state = "maintenance"
    return await announce_all(session, [moved])


async def leave_maintenance(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    """Only maintenance ends this way: what else becomes idle does so by its own work."""
    device = await _lock(session, caller, device_id, expected)
    if device.state != "maintenance":
        raise refusal(device.state, "idle")
    moved = _move(session, device, "idle", "maintenance ended", caller.id)
    device.desired_state = "idle"
    return await announce_all(session, [moved])


async def delete_device(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    """The row stays as a tombstone, without its owner."""
    device = await _lock(session, caller, device_id, expected)
    deleting = _move(session, device, "deleting", "deleted", caller.id)
    owner_id = device.owner_id
    _forget_owner(device)
    device.desired_state = "deleted"
    device.deleted_at = datetime.now(UTC)
    deleted = _move(session, device, "deleted", "nothing is left of it", caller.id)
    gone = DeviceDeleted(device_id=device.id, tenant_id=device.tenant_id)
    tombstone = Announcement(event=gone, entities=_held_by(owner_id), deleted=[entities.device(device.id)])
    return await announce_all(session, [deleting, deleted, tombstone])


def _release(session: AsyncSession, device: DeviceRow, reason: str, actor: str) -> list[Announcement]:
    """Cleaned in the same use case: idle needs a new volume, and this device has never had one."""
    told = [_move(session, device, "cleaning", reason, actor)]
    owner_id = device.owner_id
    _forget_owner(device)
    device.desired_state = "idle"
    if device.volume_name is None:
        device.generation += 1
        told.append(_move(session, device, "idle", "cleaned", actor))
    if owner_id is not None:
        told.append(_told(device, _updated(device, ["ownerId"], previous=owner_id), held_by=owner_id))
    return told


def _move(session: AsyncSession, device: DeviceRow, to: DeviceState, reason: str, actor: str) -> Announcement:
    """The only writer of a device's state: checked against the table, logged, to be announced."""
    before = device.state
    check_transition(before, to)
    device.state = to
    device.updated_at = datetime.now(UTC)
    _log(session, device, before, reason, actor)
    changed = DeviceStatusChanged(
        device_id=device.id,
        tenant_id=device.tenant_id,
        user_id=device.owner_id,
        old_status=before,
        new_status=to,
        reason=reason,
    )
    return _told(device, changed)


def _told(device: DeviceRow, event: Event, *, held_by: UUID | None = None) -> Announcement:
    return Announcement(event=event, entities=[entities.device(device.id), *_held_by(held_by)])


def _held_by(user_id: UUID | None) -> list[str]:
    return [] if user_id is None else [entities.devices_of(user_id)]


def _forget_owner(device: DeviceRow) -> None:
    device.owner_id = device.owner_name = device.owner_email = None


def _log(session: AsyncSession, device: DeviceRow, before: DeviceState | None, reason: str, actor: str) -> None:
    session.add(
        StateLogRow(
            device_id=device.id,
            from_state=before,
            to_state=device.state,
            reason=reason,
            actor=actor,
            at=datetime.now(UTC),
        )
    )


def _updated(device: DeviceRow, changed: list[str], *, previous: UUID | None = None) -> DeviceUpdated:
    return DeviceUpdated(
        device_id=device.id,
        tenant_id=device.tenant_id,
        name=device.name,
        user_id=device.owner_id,
        previous_user_id=previous,
        changed=changed,
    )


async def _lock(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> DeviceRow:
    row = await session.get(DeviceRow, device_id, with_for_update=True)
    entity = entities.device(device_id)
    present = await versions_of(session, entity)
    if row is None or row.deleted_at is not None or not caller.sees(row.tenant_id, row.owner_id):
        raise NotFound(entities=present)
    check_version(expected, present[entity])
    return row


async def _check_template(session: AsyncSession, template_id: UUID) -> None:
    """Held against deletion until the transaction ends."""
    template = await session.get(TemplateRow, template_id, with_for_update={"read": True})
    if template is None or template.deleted_at is not None:
        raise Invalid(f"There is no template {template_id}")


async def _check_room(session: AsyncSession, node_id: UUID) -> None:
    node = await session.get(NodeRow, node_id, with_for_update=True)
    if node is None or node.deleted_at is not None:
        raise Invalid(f"There is no node {node_id}")
    if node.status != "online":
        raise Conflict(f"The node {node.name} is {node.status} and takes no devices")
    standing = select(func.count()).where(DeviceRow.node_id == node_id, DeviceRow.deleted_at.is_(None))
    if (await session.execute(standing)).scalar_one() >= node.capacity:
        raise Conflict(f"The node {node.name} is full: it holds {node.capacity} devices")

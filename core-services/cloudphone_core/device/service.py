"""What can be done to a device: one function per use case, in the caller's transaction.

Each returns the versions that it announced. A device the caller may not see is NotFound, exactly as one that is not
there; a state that does not allow the act is StateConflict; a version other than `expected` PreconditionFailed.
"""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.device import DeviceCreate, DevicePatch, Provider
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.outbox import announce_all
from cloudphone_shared.errors import Conflict, Invalid
from cloudphone_shared.events.device import DeviceCreated
from cloudphone_shared.ids import uuid7

from .lifecycle.commands import accept
from .lifecycle.converging import take_back
from .models import DeviceRow, NodeRow, OwnerRow, TemplateRow
from .moves import about, lock_device, log_state, move, updated
from .owners import learn_owner
from .states import TRANSITIONS, check_transition, refusal

Versions = dict[str, int]

RELEASABLE = frozenset(state for state, following in TRANSITIONS.items() if "cleaning" in following)
"""The states from which a device can be taken from its owner."""


async def create_device(
    session: AsyncSession, caller: Caller, wanted: DeviceCreate, tenant_id: UUID, provider: Provider
) -> tuple[UUID, Versions]:
    """Made and idle at once: its container is made at its first start. Raises Invalid for an unknown node or template,
    and for another provider than the platform's; Conflict for a node that takes no more devices."""
    if wanted.provider not in (None, provider):
        raise Invalid(f"Devices of the provider {wanted.provider} cannot be made here; {provider} ones can")
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
        provider=provider,
        desired_state="idle",
        state="creating",
        tags=list(dict.fromkeys(wanted.tags)),
        generation=1,
        created_at=now,
        updated_at=now,
    )
    session.add(device)
    await session.flush()
    log_state(session, device, None, "created", caller.id)
    created = DeviceCreated(
        device_id=device.id,
        tenant_id=tenant_id,
        name=device.name,
        node_id=device.node_id,
        template_id=device.template_id,
    )
    told = [about(device, created), *await move(session, device, "idle", "ready", caller.id)]
    return device.id, await announce_all(session, told)


async def change_device(
    session: AsyncSession, caller: Caller, device_id: UUID, patch: DevicePatch, expected: int | None
) -> Versions:
    """Name and tags. What is already as wanted is announced to nobody."""
    device = await lock_device(session, caller, device_id, expected)
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
    return await announce_all(session, [about(device, updated(device, changed), held_by=moved)])


async def assign_device(
    session: AsyncSession, caller: Caller, device_id: UUID, user: User, expected: int | None
) -> Versions:
    """Gives an idle device to `user`, as the user service answered. Raises Invalid for a user of another tenant, or
    one who is not active."""
    owner = await learn_owner(session, user.id, version=user.version, name=user.name, email=user.email)
    device = await lock_device(session, caller, device_id, expected)
    if user.tenant_id != device.tenant_id or owner.deleted:
        raise unknown_owner(user.id)
    if user.status != "active":
        raise Invalid(f"The user {user.id} is {user.status}; only an active user can hold a device")
    check_transition(device.state, "allocated")
    device.owner_id, device.owner_name, device.owner_email = owner.id, owner.name, owner.email
    device.desired_state = "allocated"
    moved = await move(session, device, "allocated", "assigned", caller.id)
    return await announce_all(session, [*moved, about(device, updated(device, ["ownerId"]), held_by=owner.id)])


def unknown_owner(user_id: UUID) -> Invalid:
    return Invalid(f"There is no user {user_id} in the device's tenant")


async def unassign_device(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    device = await lock_device(session, caller, device_id, expected)
    _, told = await accept(session, device, "clean", by=caller.id, reason="unassigned")
    return await announce_all(session, told)


async def release_devices_of(session: AsyncSession, user_id: UUID) -> None:
    """Takes every device from a user who is gone: at once, or as soon as it has come to rest."""
    await _take_back_all(session, sa.select(DeviceRow).where(DeviceRow.owner_id == user_id))


async def _take_back_all(session: AsyncSession, held: sa.Select[DeviceRow]) -> None:
    devices = (await session.scalars(held.order_by(DeviceRow.id).with_for_update())).all()
    released = [await take_back(session, device, "owner deleted", "user") for device in devices]
    await announce_all(session, [one for told in released for one in told])


async def release_orphans(session: AsyncSession) -> int:
    """Takes the devices that were busy when their owner was deleted and are so no more. Returns how many owners had
    any, at most 100."""
    waiting = (
        sa.select(DeviceRow.owner_id)
        .join(OwnerRow, OwnerRow.id == DeviceRow.owner_id)
        .where(OwnerRow.deleted, DeviceRow.state.in_(RELEASABLE))
        .distinct()
        .limit(100)
    )
    owners = [owner_id for owner_id in await session.scalars(waiting) if owner_id is not None]
    held = sa.select(DeviceRow).where(DeviceRow.owner_id.in_(owners), DeviceRow.state.in_(RELEASABLE))
    await _take_back_all(session, held)
    return len(owners)


async def enter_maintenance(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    device = await lock_device(session, caller, device_id, expected)
    moved = await move(session, device, "maintenance", "maintenance began", caller.id)
    device.desired_state = "maintenance"
    return await announce_all(session, moved)


async def leave_maintenance(session: AsyncSession, caller: Caller, device_id: UUID, expected: int | None) -> Versions:
    """Only maintenance ends this way: what else becomes idle does so by its own work."""
    device = await lock_device(session, caller, device_id, expected)
    if device.state != "maintenance":
        raise refusal(device.state, "idle")
    moved = await move(session, device, "idle", "maintenance ended", caller.id)
    device.desired_state = "idle"
    return await announce_all(session, moved)


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
    standing = sa.select(sa.func.count()).where(DeviceRow.node_id == node_id, DeviceRow.deleted_at.is_(None))
    if (await session.execute(standing)).scalar_one() >= node.capacity:
        raise Conflict(f"The node {node.name} is full: it holds {node.capacity} devices")

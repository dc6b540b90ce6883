"""Devices given and taken by the scheduler: under fencing tokens, so that late and repeated orders do no harm.

A device obeys only tokens above the one that it has; a release is good for all tokens up to its own.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.events.device import DeviceAllocated, DeviceAllocationRefused
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved

from .lifecycle.converging import take_back
from .models import DeviceRow
from .moves import about, move, updated
from .owners import learn_owner

_ACTOR = "scheduler"


async def obey_reservation(session: AsyncSession, order: AllocationReserved, user: User | None) -> None:
    """Gives the device to the user, or announces why not; `user` None: there is none. A stale order is ignored."""
    if user is not None:
        owner = await learn_owner(session, user.id, version=user.version, name=user.name, email=user.email)
        user = None if owner.deleted else user
    device = await _locked(session, order.device_id)
    if device is None:
        await announce_all(session, [_refused(order, None, "there is no such device")])
        return
    if order.fencing_token <= device.fencing_token:
        return
    if reason := _reason_against(device, order, user):
        await announce_all(session, [_refused(order, device, reason)])
        return
    assert user is not None
    device.fencing_token, device.allocation_id = order.fencing_token, order.allocation_id
    device.owner_id, device.owner_name, device.owner_email = user.id, user.name, user.email
    device.desired_state = "allocated"
    device.recoveries = 0
    moved = await move(session, device, "allocated", "allocated", _ACTOR)
    allocated = DeviceAllocated(
        device_id=device.id,
        tenant_id=device.tenant_id,
        user_id=user.id,
        allocation_id=order.allocation_id,
        fencing_token=order.fencing_token,
    )
    given = about(device, updated(device, ["ownerId"]), held_by=user.id)
    await announce_all(session, [*moved, given, about(device, allocated)])


async def obey_release(session: AsyncSession, order: AllocationReleased) -> None:
    """Takes the device from its user, if it is this allocation's or an older one's."""
    device = await _locked(session, order.device_id)
    if device is None or order.fencing_token < device.fencing_token:
        return
    device.fencing_token = order.fencing_token
    if device.allocation_id is not None:
        await announce_all(session, await take_back(session, device, f"released: {order.reason}"[:200], _ACTOR))


async def _locked(session: AsyncSession, device_id: UUID) -> DeviceRow | None:
    device = await session.get(DeviceRow, device_id, with_for_update=True, populate_existing=True)
    return None if device is None or device.deleted_at is not None else device


def _reason_against(device: DeviceRow, order: AllocationReserved, user: User | None) -> str | None:
    if device.state != "idle":
        return f"the device is {device.state}"
    if user is None or user.tenant_id != device.tenant_id or order.tenant_id != device.tenant_id:
        return "there is no such user in the device's tenant"
    if user.status != "active":
        return f"the user is {user.status}"
    return None


def _refused(order: AllocationReserved, device: DeviceRow | None, reason: str) -> Announcement:
    event = DeviceAllocationRefused(
        device_id=order.device_id,
        tenant_id=order.tenant_id,
        allocation_id=order.allocation_id,
        fencing_token=order.fencing_token,
        reason=reason,
    )
    return Announcement(event=event) if device is None else about(device, event)

"""What the scheduler replied to an order that asked for a device, or did not."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database import Database
from cloudphone_shared.events.scheduler import DeviceAllocateReplied

from . import allocation
from .models import CopyRow, OrderAllocationRow
from .orders import service
from .orders.models import OrderRow

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ACTOR = "scheduler"
GRACE = timedelta(minutes=2)
"""After the deadline: the scheduler's own refusal comes first where it can."""


async def hear_reply(session: AsyncSession, reply: DeviceAllocateReplied, at: datetime) -> None:
    """Binds the device to the order that waits for it, or fails the order with the reason.

    A device that nobody waits for any more is given back.
    """
    # The copy is locked before the order, as it is when the device's owner announces a new name.
    copy = await _copy(session, reply)
    order = await session.get(OrderRow, reply.saga_id, with_for_update=True)
    asked = await allocation.of_order(session, reply.saga_id)
    waiting = order is not None and asked is not None and asked.state == "requested" and order.state == "provisioning"
    if not reply.success:
        if order is not None and asked is not None and waiting:
            await _fail(session, order, asked, reply.failure_reason or "no device could be allocated", at)
        return
    if reply.device_id is None or reply.allocation_id is None or reply.fencing_token is None:
        log.error("allocation_reply_incomplete", saga_id=str(reply.saga_id))
        return
    if order is not None and asked is not None and waiting and order.device_id is None:
        asked.state, asked.updated_at = "held", at
        asked.device_id, asked.allocation_id = reply.device_id, reply.allocation_id
        asked.fencing_token = reply.fencing_token
        await service.bind_device(session, order, reply.device_id, copy, actor=ACTOR, at=at)
    elif asked is None or asked.state != "held" or asked.allocation_id != reply.allocation_id:
        reason = "no order waits for it" if order is None else f"the order is {order.state}"
        await allocation.release(
            session, reply.device_id, reply.allocation_id, reply.fencing_token, reason, reply.tenant_id
        )


async def give_up_waiting(database: Database, now: datetime) -> int:
    """Fails an order whose reply never came. How many there were, at most one."""
    late = (OrderAllocationRow.state == "requested") & (OrderAllocationRow.deadline_at < now - GRACE)
    async with database.writing() as session:
        order_id = await session.scalar(select(OrderAllocationRow.order_id).where(late).limit(1))
        if order_id is None:
            return 0
        order = await session.get(OrderRow, order_id, with_for_update=True)
        asked = await allocation.of_order(session, order_id)
        if order is None or asked is None or asked.state != "requested":
            return 0
        if order.state == "provisioning" and order.device_id is None:
            await _fail(session, order, asked, "the scheduler did not answer in time", now)
        else:
            asked.state, asked.updated_at = "failed", now
        return 1


async def _fail(session: AsyncSession, order: OrderRow, asked: OrderAllocationRow, reason: str, at: datetime) -> None:
    asked.state, asked.updated_at = "failed", at
    await service.fail_order(session, order, reason, actor=ACTOR, at=at)


async def _copy(session: AsyncSession, reply: DeviceAllocateReplied) -> CopyRow | None:
    if reply.device_id is None:
        return None
    known = select(CopyRow).where(CopyRow.entity == entities.device(reply.device_id)).with_for_update()
    return (await session.scalars(known)).one_or_none()

"""The device of an order: asked of the scheduler, given back with its token. In the caller's transaction."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import announce
from cloudphone_shared.events.scheduler import DeviceAllocateRequested, DeviceReleaseRequested

from .models import OrderAllocationRow
from .orders.models import OrderRow

SCHEDULER = "scheduler"
WAITING = timedelta(minutes=10)
"""How long an order waits for a device."""
GRACE = timedelta(minutes=2)
"""After that: the scheduler's own refusal comes first where it can."""


async def of_order(session: AsyncSession, order_id: UUID) -> OrderAllocationRow | None:
    """Locked. The order's row is locked before it, or its saga's."""
    asked = select(OrderAllocationRow).where(OrderAllocationRow.order_id == order_id).with_for_update()
    return (await session.scalars(asked)).one_or_none()


async def request(
    session: AsyncSession, order: OrderRow, saga_id: UUID, template_id: UUID | None, at: datetime
) -> None:
    """The reply names the saga. `at` is the database's time, which the scheduler measures the deadline by."""
    deadline = at + WAITING
    session.add(OrderAllocationRow(order_id=order.id, state="requested", deadline_at=deadline, updated_at=at))
    event = DeviceAllocateRequested(
        saga_id=saga_id,
        order_id=order.id,
        user_id=order.user_id,
        tenant_id=order.tenant_id,
        plan_id=order.plan_id,
        deadline=deadline,
        constraints={"templateId": str(template_id)} if template_id else {},
    )
    await announce(session, event)


async def release(
    session: AsyncSession, device_id: UUID, allocation_id: UUID, fencing_token: int, reason: str, tenant_id: UUID
) -> None:
    event = DeviceReleaseRequested(
        device_id=device_id,
        allocation_id=allocation_id,
        fencing_token=fencing_token,
        reason=reason,
        tenant_id=tenant_id,
    )
    await announce(session, event)


async def give_back(session: AsyncSession, order: OrderRow, reason: str, at: datetime) -> bool:
    """Whether there was one to give back. What was only asked for is given back when the reply comes."""
    held = await of_order(session, order.id)
    if held is None or held.state not in ("requested", "held"):
        return False
    was, held.state, held.updated_at = held.state, "released", at
    if was == "held" and held.device_id and held.allocation_id and held.fencing_token is not None:
        await release(session, held.device_id, held.allocation_id, held.fencing_token, reason, order.tenant_id)
        return True
    return False

"""The device of an order: asked of the scheduler, given back with its token. In the caller's transaction."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.database import announce
from cloudphone_shared.events.scheduler import DeviceAllocateRequested, DeviceReleaseRequested

from .models import OrderAllocationRow
from .orders.models import OrderRow

WAITING = timedelta(minutes=10)
"""How long an order waits for a device."""
GIVING_BACK: frozenset[OrderState] = frozenset({"compensating", "cancelled", "failed", "refunded"})
"""An order in one of these holds no device."""


async def follow(session: AsyncSession, order: OrderRow, at: datetime) -> None:
    """After each step of an order: one to be provisioned asks for a device unless it has one, one undone gives it
    back."""
    if order.state == "provisioning" and order.device_id is None:
        await _request(session, order, at)
    elif order.state in GIVING_BACK:
        await give_back(session, order, f"the order is {order.state}", at)


async def of_order(session: AsyncSession, order_id: UUID) -> OrderAllocationRow | None:
    """Locked. The order's row is locked before it."""
    asked = select(OrderAllocationRow).where(OrderAllocationRow.order_id == order_id).with_for_update()
    return (await session.scalars(asked)).one_or_none()


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


async def _request(session: AsyncSession, order: OrderRow, at: datetime) -> None:
    deadline = at + WAITING
    session.add(OrderAllocationRow(order_id=order.id, state="requested", deadline_at=deadline, updated_at=at))
    event = DeviceAllocateRequested(
        saga_id=order.id,
        order_id=order.id,
        user_id=order.user_id,
        tenant_id=order.tenant_id,
        plan_id=order.plan_id,
        deadline=deadline,
    )
    await announce(session, event)


async def give_back(session: AsyncSession, order: OrderRow, reason: str, at: datetime) -> None:
    """The device that was allocated for the order, if it holds one."""
    held = await of_order(session, order.id)
    if held is None or held.state not in ("requested", "held"):
        return
    was, held.state, held.updated_at = held.state, "released", at
    # What was only asked for is given back when the reply comes.
    if was == "held" and held.device_id and held.allocation_id and held.fencing_token is not None:
        await release(session, held.device_id, held.allocation_id, held.fencing_token, reason, order.tenant_id)

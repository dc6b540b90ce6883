"""Giving a device to a request and taking it back, under the lock of its tenant.

Whoever gives or takes holds first the tenant's row, then the device's, then the node's: no two wait for each other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.scheduler import AllocationState, Constraints
from cloudphone_shared.database import Announcement
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved, DeviceAllocateReplied
from cloudphone_shared.ids import uuid7

from .choice import Choice, Wish, choose
from .models import LIVE, AllocationRow, DeviceRow, NodeRow, RequestRow, TenantRow, fencing_tokens
from .settings import Scheduling
from .strategies import ring_of, take_turn


async def hold(session: AsyncSession, tenant_id: UUID) -> datetime:
    """Locks the tenant until the transaction ends. Returns the database's time, by which all here is measured."""
    locked = sa.select(sa.func.clock_timestamp()).select_from(TenantRow).where(TenantRow.id == tenant_id)
    now = await session.scalar(locked.with_for_update())
    if now is None:
        await session.execute(insert(TenantRow).values(id=tenant_id, served=0).on_conflict_do_nothing())
        now = await session.scalar(locked.with_for_update())
    assert now is not None
    return now


def wish_of(request: RequestRow) -> Wish:
    return Wish(
        tenant_id=request.tenant_id,
        constraints=msgspec.convert(request.constraints, Constraints),
        strategy=request.strategy,
    )


async def heads(session: AsyncSession, tenant_id: UUID, now: datetime) -> list[RequestRow]:
    """Of the tenant's waiting requests, of each pool the first, in the order of their coming."""
    waiting = (
        sa.select(RequestRow)
        .where(RequestRow.tenant_id == tenant_id, RequestRow.state == sa.literal_column("'queued'"))
        .where(RequestRow.deadline_at > now)
        .order_by(RequestRow.pool, RequestRow.seq)
        .ext(distinct_on(RequestRow.pool))
    )
    found = await session.scalars(waiting.execution_options(populate_existing=True))
    return sorted(found, key=lambda request: request.seq)


async def next_placed(
    session: AsyncSession, waiting: Sequence[RequestRow], now: datetime, patience: Scheduling
) -> tuple[RequestRow, list[Announcement]] | None:
    """Places the first of the requests that some device serves; None where none of them is."""
    for request in waiting:
        choice = await choose(session, wish_of(request))
        if choice is not None:
            return request, [await reserve(session, request, choice, now, patience)]
    return None


async def reserve(
    session: AsyncSession, request: RequestRow, choice: Choice, now: datetime, patience: Scheduling
) -> Announcement:
    """The chosen device is the request's, under a token higher than any before."""
    answer_by = now + timedelta(seconds=patience.scheduler_answer_seconds)
    allocation = AllocationRow(
        id=uuid7(),
        request_id=request.id,
        tenant_id=request.tenant_id,
        user_id=request.user_id,
        device_id=choice.device_id,
        node_id=choice.node_id,
        order_id=request.order_id,
        saga_id=request.saga_id,
        state="reserved",
        fencing_token=(await session.execute(fencing_tokens.next_value().select())).scalar_one(),
        lease_until=answer_by if request.saga_id is None else min(answer_by, request.deadline_at),
        created_at=now,
        updated_at=now,
    )
    session.add(allocation)
    request.state, request.allocation_id, request.failure, request.updated_at = "placed", allocation.id, None, now
    await session.flush()
    ring = ring_of(wish_of(request).constraints, request.strategy)
    if ring is not None:
        await take_turn(session, request.tenant_id, ring, request.strategy, choice.node_id)
    await _bind(session, choice.device_id, allocation.id)
    await _count(session, choice.node_id, 1)
    event = AllocationReserved(
        allocation_id=allocation.id,
        device_id=allocation.device_id,
        user_id=allocation.user_id,
        tenant_id=allocation.tenant_id,
        fencing_token=allocation.fencing_token,
        order_id=allocation.order_id,
    )
    return Announcement(event=event)


async def end(
    session: AsyncSession,
    allocation: AllocationRow,
    state: AllocationState,
    reason: str,
    now: datetime,
    patience: Scheduling,
) -> list[Announcement]:
    """Takes the device back: nobody is given it before it is heard to be idle, or has rested if it was all the time.

    Of what has ended already, nothing.
    """
    if allocation.state not in LIVE:
        return []
    allocation.state, allocation.ended_reason, allocation.updated_at = state, reason, now
    await session.flush()
    rest = now + timedelta(seconds=patience.scheduler_rest_seconds)
    await session.execute(
        sa.update(DeviceRow)
        .where(DeviceRow.id == allocation.device_id, DeviceRow.allocation_id == allocation.id)
        .values(allocation_id=None, rest_until=rest)
        .execution_options(synchronize_session=False)
    )
    await _count(session, allocation.node_id, -1)
    return [Announcement(event=released(allocation))]


def released(allocation: AllocationRow) -> AllocationReleased:
    return AllocationReleased(
        allocation_id=allocation.id,
        device_id=allocation.device_id,
        user_id=allocation.user_id,
        tenant_id=allocation.tenant_id,
        fencing_token=allocation.fencing_token,
        reason=allocation.ended_reason or allocation.state,
    )


def reply(request: RequestRow, allocation: AllocationRow | None, now: datetime) -> list[Announcement]:
    """Tells billing, where billing asked: an allocation that is the user's, or why there is none."""
    if request.saga_id is None:
        return []
    success = allocation is not None and allocation.state == "active"
    request.replied, request.updated_at = "success" if success else "failure", now
    event = DeviceAllocateReplied(
        saga_id=request.saga_id,
        tenant_id=request.tenant_id,
        success=success,
        device_id=allocation.device_id if allocation and success else None,
        allocation_id=allocation.id if allocation and success else None,
        fencing_token=allocation.fencing_token if allocation and success else None,
        failure_reason=None if success else request.failure or "The allocation has ended",
    )
    return [Announcement(event=event)]


async def _bind(session: AsyncSession, device_id: UUID, allocation_id: UUID) -> None:
    await session.execute(
        sa.update(DeviceRow)
        .where(DeviceRow.id == device_id)
        .values(allocation_id=allocation_id)
        .execution_options(synchronize_session=False)
    )


async def _count(session: AsyncSession, node_id: UUID, more: int) -> None:
    await session.execute(
        sa.update(NodeRow)
        .where(NodeRow.id == node_id)
        .values(live=NodeRow.live + more)
        .execution_options(synchronize_session=False)
    )

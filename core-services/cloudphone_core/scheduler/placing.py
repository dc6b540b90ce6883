"""Giving a device to a request and taking it back, under the lock of its tenant.

Whoever gives or takes holds first the tenant's row, then the device's, then the node's: no two wait for each other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.scheduler import AllocationState, Constraints, Strategy
from cloudphone_shared.database import Announcement
from cloudphone_shared.database.tables import in_schema
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved, DeviceAllocateReplied
from cloudphone_shared.ids import uuid7

from .choice import Choice, Wish, choose
from .models import LIVE, SCHEMA, AllocationRow, DeviceRow, NodeRow, RequestRow, TenantRow
from .settings import Scheduling
from .strategies import ring_of, take_turn


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has no device yet."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    order_id: UUID | None
    saga_id: UUID | None
    constraints: Constraints
    pool: str
    strategy: Strategy
    deadline_at: datetime

    @property
    def wish(self) -> Wish:
        return Wish(tenant_id=self.tenant_id, constraints=self.constraints, strategy=self.strategy)


async def hold(session: AsyncSession, tenant_id: UUID) -> datetime:
    """Locks the tenant until the transaction ends. Returns the database's time, by which all here is measured."""
    locking, tenant = in_schema(_HOLD, SCHEMA), {"tenant_id": tenant_id}
    now = (await session.execute(locking, tenant)).scalar()
    if now is None:
        await session.execute(insert(TenantRow).values(id=tenant_id, served=0).on_conflict_do_nothing())
        now = (await session.execute(locking, tenant)).scalar_one()
    return now


async def heads(session: AsyncSession, tenant_id: UUID, now: datetime) -> list[Waiting]:
    """Of the tenant's waiting requests, of each pool the first, in the order of their coming."""
    rows = await session.execute(in_schema(_HEADS, SCHEMA), {"tenant_id": tenant_id, "now": now})
    return [msgspec.convert(dict(row), Waiting) for row in rows.mappings()]


async def next_placed(
    session: AsyncSession, waiting: Sequence[Waiting], now: datetime, patience: Scheduling
) -> Announcement | None:
    """Places the first of the requests that some device serves; None where none of them is."""
    for request in waiting:
        placed = await place(session, request, now, patience)
        if placed is not None:
            return placed
    return None


async def place(session: AsyncSession, request: Waiting, now: datetime, patience: Scheduling) -> Announcement | None:
    """Chooses a device and reserves it; None where nothing fits."""
    tried: list[UUID] = []
    while (choice := await choose(session, request.wish, tried)) is not None:
        event = await _reserve(session, request, choice, now, patience)
        if event is not None:
            ring = ring_of(request.constraints, request.strategy)
            if ring is not None:
                await take_turn(session, request.tenant_id, ring, request.strategy, choice.node_id)
            return Announcement(event=event)
        tried.append(choice.node_id)
    return None


async def _reserve(
    session: AsyncSession, request: Waiting, choice: Choice, now: datetime, patience: Scheduling
) -> AllocationReserved | None:
    """The chosen device is the request's, under a token higher than any before; None where its node was drained, lost
    or filled since it was chosen."""
    answer_by = now + timedelta(seconds=patience.scheduler_answer_seconds)
    allocation_id = uuid7()
    parameters = {
        "id": allocation_id,
        "request_id": request.id,
        "tenant_id": request.tenant_id,
        "user_id": request.user_id,
        "device_id": choice.device_id,
        "node_id": choice.node_id,
        "order_id": request.order_id,
        "saga_id": request.saga_id,
        "lease_until": answer_by if request.saga_id is None else min(answer_by, request.deadline_at),
        "now": now,
    }
    token = (await session.execute(in_schema(_RESERVE, SCHEMA), parameters)).scalar()
    if token is None:
        return None
    return AllocationReserved(
        allocation_id=allocation_id,
        device_id=choice.device_id,
        user_id=request.user_id,
        tenant_id=request.tenant_id,
        fencing_token=token,
        order_id=request.order_id,
    )


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


async def _count(session: AsyncSession, node_id: UUID, more: int) -> None:
    await session.execute(
        sa.update(NodeRow)
        .where(NodeRow.id == node_id)
        .values(live=NodeRow.live + more)
        .execution_options(synchronize_session=False)
    )


_HOLD = "SELECT clock_timestamp() FROM {schema}.tenants WHERE id = CAST(:tenant_id AS uuid) FOR UPDATE"

_HEADS = """
SELECT id, tenant_id, user_id, order_id, saga_id, constraints, pool, strategy, deadline_at
FROM (
    SELECT DISTINCT ON (pool) * FROM {schema}.requests
    WHERE tenant_id = CAST(:tenant_id AS uuid) AND state = 'queued' AND deadline_at > CAST(:now AS timestamptz)
    ORDER BY pool, seq
) AS head ORDER BY seq
"""

_RESERVE = """
WITH counted AS (
    UPDATE {schema}.nodes SET live = live + 1
    WHERE id = CAST(:node_id AS uuid) AND NOT deleted AND status = 'online' AND health = 'online' AND live < capacity
    RETURNING id
), given AS (
    INSERT INTO {schema}.allocations (id, request_id, tenant_id, user_id, device_id, node_id, order_id, saga_id, state,
        fencing_token, lease_until, created_at, updated_at)
    SELECT CAST(:id AS uuid), CAST(:request_id AS uuid), CAST(:tenant_id AS uuid), CAST(:user_id AS uuid),
        CAST(:device_id AS uuid), counted.id, CAST(:order_id AS uuid), CAST(:saga_id AS uuid), 'reserved',
        nextval('{schema}.fencing_tokens'), CAST(:lease_until AS timestamptz), CAST(:now AS timestamptz), :now
    FROM counted RETURNING id, fencing_token
), bound AS (
    UPDATE {schema}.devices AS d SET allocation_id = given.id FROM given WHERE d.id = :device_id
), placed AS (
    UPDATE {schema}.requests AS r SET state = 'placed', allocation_id = given.id, failure = NULL, updated_at = :now
    FROM given WHERE r.id = :request_id
)
SELECT fencing_token FROM given
"""

"""The queue: first come, first served within a tenant, tenants by turns, nobody held up by one who is hard to please.

Of each tenant the oldest request that any device serves now is placed, then the next tenant's; a request that nothing
fits lets later ones by, and is asked about first again as soon as there is something new.
"""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database, announce_all

from .models import LIVE, AllocationRow, DeviceRow, RequestRow, TenantRow, services
from .placing import end, heads, hold, next_placed, reply
from .service import back_in_line
from .settings import Scheduling

_BATCH = 200
NOBODYS = ("idle", "cleaning", "maintenance", "deleting", "deleted")
"""States of a device that no user holds."""
_QUEUED = RequestRow.state == sa.literal_column("'queued'")


async def serve(database: Database, patience: Scheduling) -> int:
    """Places all that can be placed, each in a transaction of its own; returns how many."""
    placed = 0
    async with database.writing() as session:
        tenants = list(await session.scalars(_waiting_tenants()))
    while tenants:
        served: list[UUID] = []
        for tenant_id in tenants:
            async with database.writing() as session:
                if await serve_next(session, tenant_id, patience):
                    served.append(tenant_id)
        placed += len(served)
        tenants = served
    return placed


async def serve_next(session: AsyncSession, tenant_id: UUID, patience: Scheduling) -> bool:
    """The tenant's oldest request that can be placed, if any."""
    now = await hold(session, tenant_id)
    placed = await next_placed(session, await heads(session, tenant_id, now), now, patience)
    if placed is None:
        return False
    served = sa.update(TenantRow).where(TenantRow.id == tenant_id).values(served=services.next_value())
    await session.execute(served.execution_options(synchronize_session=False))
    await announce_all(session, [placed])
    return True


async def expire(database: Database, patience: Scheduling) -> int:
    """Ends the leases and the waits that have run out by the database's clock, and the allocations whose device was
    taken back by others; returns how many."""
    async with database.writing() as session:
        leases = list(await session.scalars(_run_out()))
        lost = list(await session.scalars(_taken_back()))
        waits = list(await session.scalars(_waited_long_enough()))
    for allocation_id in leases:
        async with database.writing() as session:
            await expire_lease(session, allocation_id, patience)
    for allocation_id in lost:
        async with database.writing() as session:
            await give_up(session, allocation_id, patience)
    for request_id in waits:
        async with database.writing() as session:
            await expire_wait(session, request_id)
    return len(leases) + len(lost) + len(waits)


async def expire_lease(session: AsyncSession, allocation_id: UUID, patience: Scheduling) -> None:
    """Unless it was renewed or released meanwhile."""
    allocation = await session.get_one(AllocationRow, allocation_id)
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if allocation.state not in LIVE or allocation.lease_until is None or allocation.lease_until > now:
        return
    if allocation.state == "active":
        told = await end(session, allocation, "expired", "its lease ran out", now, patience)
    else:
        told = await end(session, allocation, "expired", "the device did not answer in time", now, patience)
        told += await back_in_line(session, allocation, now)
    await announce_all(session, told)


async def give_up(session: AsyncSession, allocation_id: UUID, patience: Scheduling) -> None:
    """An allocation whose device is not the user's any more."""
    allocation = await session.get_one(AllocationRow, allocation_id)
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if allocation.state == "active":
        await announce_all(
            session, await end(session, allocation, "released", "the device was taken back", now, patience)
        )


async def expire_wait(session: AsyncSession, request_id: UUID) -> None:
    """Unless it was placed or cancelled meanwhile."""
    request = await session.get_one(RequestRow, request_id)
    now = await hold(session, request.tenant_id)
    await session.refresh(request, with_for_update=True)
    if request.state != "queued" or request.deadline_at > now:
        return
    request.state, request.updated_at = "expired", now
    request.failure = request.failure or "No device fitted before the deadline"
    await announce_all(session, reply(request, None, now))


def _waiting_tenants() -> sa.Select[UUID]:
    """Who was served longest ago comes first."""
    waiting = sa.select(RequestRow.tenant_id).where(_QUEUED).distinct().subquery()
    return (
        sa.select(waiting.c.tenant_id)
        .join(TenantRow, TenantRow.id == waiting.c.tenant_id)
        .order_by(TenantRow.served, TenantRow.id)
    )


def _run_out() -> sa.Select[UUID]:
    return (
        sa.select(AllocationRow.id)
        .where(AllocationRow.state.in_([sa.literal_column(f"'{state}'") for state in LIVE]))
        .where(AllocationRow.lease_until <= sa.func.clock_timestamp())
        .order_by(AllocationRow.lease_until)
        .limit(_BATCH)
    )


def _taken_back() -> sa.Select[UUID]:
    """Of a device that was given, news of it as nobody's are later news."""
    return (
        sa.select(AllocationRow.id)
        .join(DeviceRow, DeviceRow.allocation_id == AllocationRow.id)
        .where(AllocationRow.state == "active", DeviceRow.state.in_(NOBODYS))
        .limit(_BATCH)
    )


def _waited_long_enough() -> sa.Select[UUID]:
    overdue = sa.select(RequestRow.id).where(_QUEUED, RequestRow.deadline_at <= sa.func.clock_timestamp())
    return overdue.order_by(RequestRow.deadline_at).limit(_BATCH)

"""What can be asked of the scheduler: one function per use case, in the caller's transaction.

Times are the database's. An allocation that the caller may not see is NotFound, exactly as one that is not there.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.scheduler import AllocationCreate, Constraints, Placement, Strategy
from cloudphone_shared.database import Announcement, announce_all
from cloudphone_shared.errors import Conflict, NotFound, StateConflict
from cloudphone_shared.events.scheduler import DeviceAllocateRequested, DeviceReleaseRequested
from cloudphone_shared.ids import uuid7

from .choice import Wish, choose, explain, in_short
from .models import LIVE, AllocationRow, RequestRow, SettingsRow
from .placing import Waiting, end, heads, hold, place, released, reply
from .settings import Scheduling
from .strategies import pool_of


class NoDeviceFits(Conflict):
    """`nodes` says of each why it was not chosen."""

    code = "no-device-fits"
    title = "No device that fits can be given away now"


class StaleToken(Conflict):
    code = "stale-token"
    title = "The fencing token is not this allocation's"


async def strategy_in_use(session: AsyncSession) -> Strategy:
    return await session.scalar(sa.select(SettingsRow.strategy)) or "round_robin"


async def set_strategy(session: AsyncSession, strategy: Strategy) -> None:
    await session.execute(sa.update(SettingsRow).values(strategy=strategy))


async def request_device(
    session: AsyncSession, wanted: AllocationCreate, tenant_id: UUID, patience: Scheduling
) -> UUID:
    """Placed, or waiting for `wait_seconds`; returns the request's id. Raises NoDeviceFits when nothing fits and nobody
    wants to wait."""
    now = await hold(session, tenant_id)
    request = _waiting(
        tenant_id,
        wanted.user_id,
        wanted.constraints,
        wanted.strategy or await strategy_in_use(session),
        deadline_at=now + timedelta(seconds=wanted.wait_seconds or patience.scheduler_answer_seconds),
        order_id=wanted.order_id,
    )
    told = await _enter(session, request, now, patience, lease_seconds=wanted.lease_seconds)
    if told is None and not wanted.wait_seconds:
        placement = await explain(session, request.wish, None)
        raise NoDeviceFits(in_short(placement), nodes=msgspec.to_builtins(placement.nodes[:100]))
    await announce_all(session, [told] if told else [])
    return request.id


async def request_for_order(session: AsyncSession, asked: DeviceAllocateRequested, patience: Scheduling) -> None:
    """Once per saga: who asks again is told again what came of it. Answered as a failure: what comes after its
    deadline, and constraints that are none."""
    now = await hold(session, asked.tenant_id)
    known = await session.scalar(sa.select(RequestRow).where(RequestRow.saga_id == asked.saga_id).with_for_update())
    if known is not None:
        if known.replied is not None:
            allocation = await session.get(AllocationRow, known.allocation_id) if known.allocation_id else None
            await announce_all(session, reply(known, allocation, now))
        return
    try:
        constraints, failure = msgspec.convert(asked.constraints, Constraints), None
    except msgspec.ValidationError as error:
        constraints, failure = Constraints(), f"The constraints cannot be read: {error}"
    request = _waiting(
        asked.tenant_id,
        asked.user_id,
        constraints,
        await strategy_in_use(session),
        deadline_at=asked.deadline,
        order_id=asked.order_id,
        saga_id=asked.saga_id,
    )
    if failure is None and asked.deadline > now:
        placed = await _enter(session, request, now, patience)
        await announce_all(session, [placed] if placed else [])
        return
    await _insert(session, request, now)
    refused = await session.get_one(RequestRow, request.id)
    refused.state = "refused" if failure else "expired"
    refused.failure = failure or "The request came after its deadline"
    await announce_all(session, reply(refused, None, now))


async def cancel_request(session: AsyncSession, caller: Caller, request_id: UUID) -> RequestRow:
    """Who waits waits no more. Raises StateConflict unless it is queued or cancelled already."""
    request = await _visible_request(session, caller, request_id)
    now = await hold(session, request.tenant_id)
    await session.refresh(request, with_for_update=True)
    if request.state == "cancelled":
        return request
    if request.state != "queued":
        raise StateConflict("Only a request that waits can be cancelled", current_state=request.state, allowed=[])
    request.state, request.failure, request.updated_at = "cancelled", "It was cancelled", now
    await announce_all(session, reply(request, None, now))
    return request


async def release(
    session: AsyncSession, caller: Caller, allocation_id: UUID, token: int, reason: str, patience: Scheduling
) -> AllocationRow:
    """Raises StaleToken. What is released already stays so."""
    allocation, now = await _held(session, caller, allocation_id, token)
    if allocation.state in LIVE:
        await announce_all(session, await _give_back(session, allocation, reason, now, patience))
    return allocation


async def release_for_order(session: AsyncSession, asked: DeviceReleaseRequested, patience: Scheduling) -> bool:
    """False for an allocation that is not there, and for a token or a device that is not its own: nothing happens."""
    allocation = await session.get(AllocationRow, asked.allocation_id)
    if allocation is None:
        return False
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if (allocation.fencing_token, allocation.device_id) != (asked.fencing_token, asked.device_id):
        return False
    await announce_all(session, await _give_back(session, allocation, asked.reason, now, patience))
    return True


async def confirm(session: AsyncSession, caller: Caller, allocation_id: UUID, token: int) -> AllocationRow:
    """For good, until it is released. Raises StaleToken, and StateConflict before the device is the user's."""
    allocation, now = await _held(session, caller, allocation_id, token)
    _require_active(allocation)
    allocation.lease_until, allocation.updated_at = None, now
    return allocation


async def renew(
    session: AsyncSession, caller: Caller, allocation_id: UUID, token: int, lease_seconds: int
) -> AllocationRow:
    """From now for so long. Raises StaleToken, and StateConflict before the device is the user's or after the end."""
    allocation, now = await _held(session, caller, allocation_id, token)
    _require_active(allocation)
    allocation.lease_until, allocation.updated_at = now + timedelta(seconds=lease_seconds), now
    return allocation


async def simulate(session: AsyncSession, wanted: AllocationCreate, tenant_id: UUID) -> Placement:
    """What a request would get now: it is chosen as for a real one, and the choice is undone."""
    strategy = wanted.strategy or await strategy_in_use(session)
    wish = Wish(tenant_id=tenant_id, constraints=wanted.constraints, strategy=strategy)
    attempt = await session.begin_nested()
    await hold(session, tenant_id)
    chosen = await choose(session, wish)
    placement = await explain(session, wish, chosen)
    await attempt.rollback()
    return placement


async def device_taken(session: AsyncSession, allocation_id: UUID, token: int) -> None:
    """The device service gave the device to the user. To one whose allocation has ended, it is told again."""
    allocation = await session.get(AllocationRow, allocation_id)
    if allocation is None or allocation.fencing_token != token:
        return
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if allocation.state == "active":
        return
    if allocation.state != "reserved":
        await announce_all(session, [Announcement(event=released(allocation))])
        return
    request = await session.get_one(RequestRow, allocation.request_id, with_for_update=True)
    lease = request.lease_seconds
    allocation.state, allocation.updated_at = "active", now
    allocation.lease_until = now + timedelta(seconds=lease) if lease else None
    await announce_all(session, reply(request, allocation, now))


async def device_refused(
    session: AsyncSession, allocation_id: UUID, token: int, reason: str, patience: Scheduling
) -> None:
    """The request keeps its place in the queue, as long as it wants to wait and is not refused everywhere."""
    allocation = await session.get(AllocationRow, allocation_id)
    if allocation is None or allocation.fencing_token != token:
        return
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if allocation.state != "reserved":
        return
    told = await end(session, allocation, "released", f"the device refused: {reason}", now, patience)
    hopeless = await _ended_of(session, allocation.request_id) >= patience.scheduler_attempts
    await announce_all(session, [*told, *await back_in_line(session, allocation, now, hopeless=hopeless)])


async def back_in_line(
    session: AsyncSession, allocation: AllocationRow, now: datetime, *, hopeless: bool = False
) -> list[Announcement]:
    """What becomes of the request whose reservation came to nothing."""
    request = await session.get_one(RequestRow, allocation.request_id, with_for_update=True)
    request.allocation_id, request.failure, request.updated_at = None, allocation.ended_reason, now
    if request.deadline_at > now and not hopeless:
        request.state = "queued"
        return []
    request.state = "refused" if hopeless else "expired"
    return reply(request, None, now)


async def _enter(
    session: AsyncSession, request: Waiting, now: datetime, patience: Scheduling, *, lease_seconds: int | None = None
) -> Announcement | None:
    """Into the queue, and out of it at once where some device fits that nobody before it waits for."""
    before = await heads(session, request.tenant_id, now)
    await _insert(session, request, now, lease_seconds)
    for other in before:
        if other.pool == request.pool or await choose(session, other.wish) is not None:
            return None
    return await place(session, request, now, patience)


async def _insert(session: AsyncSession, request: Waiting, now: datetime, lease_seconds: int | None = None) -> None:
    told = msgspec.structs.asdict(request) | {"constraints": msgspec.to_builtins(request.constraints)}
    times = {"lease_seconds": lease_seconds, "created_at": now, "updated_at": now}
    await session.execute(_INSERT, {**told, **times, "state": "queued"})


async def _ended_of(session: AsyncSession, request_id: UUID) -> int:
    """How many allocations of the request have come to nothing."""
    tried = sa.select(sa.func.count()).where(AllocationRow.request_id == request_id, AllocationRow.state == "released")
    return await session.scalar(tried) or 0


async def _give_back(
    session: AsyncSession, allocation: AllocationRow, reason: str, now: datetime, patience: Scheduling
) -> list[Announcement]:
    was_reserved = allocation.state == "reserved"
    told = await end(session, allocation, "released", reason, now, patience)
    if was_reserved:
        request = await session.get_one(RequestRow, allocation.request_id, with_for_update=True)
        request.state, request.failure, request.updated_at = "cancelled", reason, now
        told += reply(request, None, now)
    return told


async def _held(
    session: AsyncSession, caller: Caller, allocation_id: UUID, token: int
) -> tuple[AllocationRow, datetime]:
    allocation = await session.get(AllocationRow, allocation_id)
    if allocation is None or not caller.sees(allocation.tenant_id, allocation.user_id):
        raise NotFound
    now = await hold(session, allocation.tenant_id)
    await session.refresh(allocation, with_for_update=True)
    if allocation.fencing_token != token:
        raise StaleToken
    return allocation, now


async def _visible_request(session: AsyncSession, caller: Caller, request_id: UUID) -> RequestRow:
    request = await session.get(RequestRow, request_id)
    if request is None or not caller.sees(request.tenant_id, request.user_id):
        raise NotFound
    return request


def _require_active(allocation: AllocationRow) -> None:
    if allocation.state != "active":
        raise StateConflict(f"The allocation is {allocation.state}", current_state=allocation.state, allowed=["active"])


def _waiting(
    tenant_id: UUID,
    user_id: UUID,
    constraints: Constraints,
    strategy: Strategy,
    *,
    deadline_at: datetime,
    order_id: UUID | None = None,
    saga_id: UUID | None = None,
) -> Waiting:
    return Waiting(
        id=uuid7(),
        tenant_id=tenant_id,
        user_id=user_id,
        order_id=order_id,
        saga_id=saga_id,
        constraints=constraints,
        pool=pool_of(constraints, strategy),
        strategy=strategy,
        deadline_at=deadline_at,
    )


_INSERT = sa.insert(RequestRow.__table__)  # pyright: ignore[reportArgumentType]

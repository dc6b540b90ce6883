"""What is told of runs, and the intervals that follow from it. Each function works in the caller's transaction.

Facts come repeated, late and in any order; each is kept, and a run's interval is worked out anew from all that is
known: from its start to the best end that was told, or to the device's next run where that came first. So the same
facts give the same usage, whatever their order.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import exists, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from cloudphone_shared import entities
from cloudphone_shared.contracts.device import DeviceRun
from cloudphone_shared.database import Announcement, announce_all
from cloudphone_shared.errors import Conflict
from cloudphone_shared.events.billing import UsageRecorded
from cloudphone_shared.ids import uuid7

from .metering import one_device_at_a_time
from .models import ClosedBy, UsageAdjustmentRow, UsageRow

_WORTH: dict[ClosedBy, int] = {"reconcile": 1, "heartbeat": 2, "event": 3}


class RunFact(msgspec.Struct, frozen=True, kw_only=True):
    """`stopped_at` None tells of the start alone; `user_id` None of a device that was nobody's."""

    run_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    started_at: datetime
    stopped_at: datetime | None = None
    closed_by: ClosedBy = "event"


class Around(NamedTuple):
    """A run, as far as it is known, with the device's run before and the one after."""

    run: UsageRow | None
    earlier: UsageRow | None
    later: UsageRow | None


async def hear(session: AsyncSession, fact: RunFact, at: datetime) -> None:
    """Raises Conflict for a run that is known with another device, start or user: two facts cannot both be true."""
    await one_device_at_a_time(session, fact.device_id)
    around = await _around(session, fact.device_id, fact.started_at, fact.run_id)
    run = around.run
    before = None if run is None else run.user_id
    if run is None:
        run = UsageRow(
            id=uuid7(),
            run_id=fact.run_id,
            tenant_id=fact.tenant_id,
            device_id=fact.device_id,
            user_id=fact.user_id,
            started_at=fact.started_at,
            seen_at=fact.started_at,
        )
    _agree(run, fact)
    run.user_id = run.user_id or fact.user_id
    if fact.stopped_at is not None:
        _tell(run, fact.stopped_at, fact.closed_by)
    await _settle(session, run, around, at, new_user=run.user_id is not None and before is None)


async def ask_answered(
    session: AsyncSession, run_id: UUID, found: DeviceRun | None, at: datetime, *, silent_after: timedelta
) -> None:
    """What the device service says of a run whose stop was not heard; None: it knows nothing of it.

    An end is never `at`: a run that was not seen for `silent_after`, or that nobody knows, ends when it was last seen,
    at its start if it never was. One that is seen again after that goes on.
    """
    run = (await session.scalars(select(UsageRow).where(UsageRow.run_id == run_id))).one_or_none()
    if run is None:
        return
    await one_device_at_a_time(session, run.device_id)
    around = await _around(session, run.device_id, run.started_at, run_id)
    run.asked_at = at
    if run.told_by not in (None, "reconcile"):
        return
    if found is not None and found.last_seen_at is not None:
        run.seen_at = max(run.seen_at or found.last_seen_at, found.last_seen_at)
    last_seen = max(run.seen_at or run.started_at, run.started_at)
    if found is not None and found.stopped_at is not None:
        _tell(run, max(found.stopped_at, run.started_at), found.closed_by or "reconcile")
    elif found is None or at - last_seen > silent_after:
        _tell(run, last_seen, "reconcile")
    elif run.told_stopped_at is not None and run.told_stopped_at < last_seen:
        run.told_stopped_at = run.told_by = None
    await _settle(session, run, around, at)


def interval_end(run: UsageRow, later: UsageRow | None) -> tuple[datetime | None, ClosedBy | None]:
    """When the run's interval ends and how that is known; `later` is the device's next run."""
    if later is None or (run.told_stopped_at is not None and run.told_stopped_at <= later.started_at):
        return run.told_stopped_at, run.told_by
    return later.started_at, "reconcile"


def _agree(run: UsageRow, fact: RunFact) -> None:
    told = fact.device_id, fact.started_at, fact.user_id or run.user_id
    if told != (run.device_id, run.started_at, run.user_id or fact.user_id):
        raise Conflict("The run is recorded with another device, user or start")


def _tell(run: UsageRow, stopped_at: datetime, closed_by: ClosedBy) -> None:
    """The better source counts; of one source, what it saw last."""
    told = _WORTH[closed_by], stopped_at
    if run.told_by is None or run.told_stopped_at is None or told > (_WORTH[run.told_by], run.told_stopped_at):
        run.told_stopped_at, run.told_by = stopped_at, closed_by


async def _settle(
    session: AsyncSession, run: UsageRow, around: Around, at: datetime, *, new_user: bool = False
) -> None:
    """Brings the run's interval, and its predecessor's, to what is known, and announces those that changed."""
    changed: list[UsageRow] = []
    # The earlier one gives way before this one takes its place: intervals must not overlap even within a transaction.
    if around.earlier is not None and _close(session, around.earlier, run, at):
        changed.append(around.earlier)
        await session.flush()
    first = new_user and await _is_first(session, run)
    new = run not in session
    session.add(run)
    if _close(session, run, around.later, at) or new or new_user:
        changed.append(run)
    await announce_all(session, list(_announcements(changed, run if first else None)))


def _close(session: AsyncSession, run: UsageRow, later: UsageRow | None, at: datetime) -> bool:
    """Whether the interval changed. What stood as its end before is kept as an adjustment."""
    stopped_at, closed_by = interval_end(run, later)
    if (stopped_at, closed_by) == (run.stopped_at, run.closed_by):
        return False
    if run.stopped_at is not None and run.closed_by is not None and run.stopped_at != stopped_at:
        adjustment = UsageAdjustmentRow(
            run_id=run.run_id,
            stopped_at_before=run.stopped_at,
            closed_by_before=run.closed_by,
            stopped_at=stopped_at,
            at=at,
        )
        session.add(adjustment)
    run.stopped_at, run.closed_by = stopped_at, closed_by
    return True


def _announcements(changed: Iterable[UsageRow], first: UsageRow | None) -> Iterable[Announcement]:
    for run in changed:
        if run.user_id is not None:
            event = UsageRecorded(
                run_id=run.run_id,
                device_id=run.device_id,
                user_id=run.user_id,
                started_at=run.started_at,
                stopped_at=run.stopped_at,
                tenant_id=run.tenant_id,
            )
            users = [entities.usage_of(run.user_id)] if run is first else []
            yield Announcement(event=event, entities=[entities.usage(run.device_id), *users])


async def _around(session: AsyncSession, device_id: UUID, started_at: datetime, run_id: UUID) -> Around:
    """As they are now, whatever the session has seen of them before."""
    other = aliased(UsageRow)
    place, here = tuple_(other.started_at, other.run_id), tuple_(started_at, run_id)
    others = select(other.id).where(other.device_id == device_id).limit(1)
    earlier = others.where(place < here).order_by(other.started_at.desc(), other.run_id.desc()).scalar_subquery()
    later = others.where(place > here).order_by(other.started_at, other.run_id).scalar_subquery()
    wanted = select(UsageRow).where(or_(UsageRow.run_id == run_id, UsageRow.id == earlier, UsageRow.id == later))
    rows = {row.run_id: row for row in await session.scalars(wanted, execution_options={"populate_existing": True})}
    run = rows.pop(run_id, None)
    before = [row for row in rows.values() if (row.started_at, row.run_id) < (started_at, run_id)]
    after = [row for row in rows.values() if (row.started_at, row.run_id) > (started_at, run_id)]
    return Around(run, before[0] if before else None, after[0] if after else None)


async def _is_first(session: AsyncSession, run: UsageRow) -> bool:
    """Whether the device has no other run of the user."""
    known = exists().where(
        UsageRow.user_id == run.user_id, UsageRow.device_id == run.device_id, UsageRow.run_id != run.run_id
    )
    with session.no_autoflush:
        return not await session.scalar(select(known))

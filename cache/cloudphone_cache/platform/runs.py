"""The record of warm-up runs, and the schedule: use cases and queries in the caller's transaction."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.common import Page
from cloudphone_shared.contracts.warmup import RunState, WarmupRun, WarmupStatus
from cloudphone_shared.database import Cursors, Sorts, page
from cloudphone_shared.errors import FieldError, Invalid, NotFound
from cloudphone_shared.ids import uuid7

from .models import ACTIVE, Run, Schedule
from .warmup import Progress

CHANNEL = "warmup_changed"
"""Notified after a trigger and after a change of the schedule."""

_SORTS = Sorts({"requestedAt": Run.requested_at}, tiebreak=Run.id, default="-requestedAt")


async def trigger(session: AsyncSession, how: str) -> WarmupRun:
    """A queued run; the active one if there is one: two triggers at once make one run."""
    row = {"id": uuid7(), "trigger": how, "state": "queued", "requested_at": datetime.now(UTC), **_counts(Progress())}
    await session.execute(insert(Run).values(row).on_conflict_do_nothing())
    await _notify(session)
    return _contract((await session.scalars(sa.select(Run).where(Run.state.in_(ACTIVE)))).one())


async def take(session: AsyncSession) -> UUID | None:
    """Starts the queued run, if there is one. For the leader."""
    started = sa.update(Run).where(Run.state == "queued").values(state="running", started_at=datetime.now(UTC))
    return (await session.scalars(started.returning(Run.id))).one_or_none()


async def abandon_interrupted(session: AsyncSession) -> int:
    """Runs that a leader left unfinished fail. For a new leader, before it takes any."""
    failure = [{"key": "", "reason": "the process that ran it ended"}]
    ended = (
        sa.update(Run)
        .where(Run.state == "running")
        .values(state="failed", finished_at=datetime.now(UTC), failures=failure)
    )
    return len((await session.scalars(ended.returning(Run.id))).all())


async def report(session: AsyncSession, run_id: UUID, progress: Progress) -> None:
    await session.execute(sa.update(Run).where(Run.id == run_id, Run.state == "running").values(_counts(progress)))


async def finish(session: AsyncSession, run_id: UUID, progress: Progress) -> None:
    done = _counts(progress) | {"state": _outcome(progress), "finished_at": datetime.now(UTC)}
    await session.execute(sa.update(Run).where(Run.id == run_id, Run.state == "running").values(done))


async def find(session: AsyncSession, run_id: UUID) -> WarmupRun:
    """Raises NotFound."""
    run = await session.get(Run, run_id)
    if run is None:
        raise NotFound(f"There is no warm-up run {run_id}")
    return _contract(run)


async def history(session: AsyncSession, cursors: Cursors, *, limit: int, cursor: str | None) -> Page[WarmupRun]:
    """Latest first."""
    found = await page(
        session, sa.select(Run), _SORTS.parse(None), cursors=cursors, scope="warmup runs", cursor=cursor, limit=limit
    )
    return Page(items=[_contract(run) for run in found.items], next_cursor=found.next_cursor)


async def status(session: AsyncSession, default_cron: str) -> WarmupStatus:
    schedule = (await session.scalars(sa.select(Schedule))).one()
    current = (await session.scalars(sa.select(Run).where(Run.state.in_(ACTIVE)))).one_or_none()
    finished = sa.select(Run).where(Run.state.not_in(ACTIVE)).order_by(Run.requested_at.desc()).limit(1)
    last = (await session.scalars(finished)).one_or_none()
    return WarmupStatus(
        schedule=schedule.cron or default_cron,
        paused=schedule.paused,
        leader=schedule.leader,
        next_run_at=None if schedule.paused else schedule.next_run_at,
        current=_contract(current) if current else None,
        last=_contract(last) if last else None,
    )


async def reschedule(session: AsyncSession, cron: str) -> None:
    """Raises Invalid for what is not a cron expression of five fields."""
    parse_cron(cron)
    await session.execute(sa.update(Schedule).values(cron=cron))
    await _notify(session)


async def pause(session: AsyncSession, *, paused: bool) -> None:
    """While paused, the schedule triggers nothing; a manual trigger still runs."""
    await session.execute(sa.update(Schedule).values(paused=paused))
    await _notify(session)


async def lead(session: AsyncSession, leader: str | None, next_run_at: datetime | None) -> None:
    await session.execute(sa.update(Schedule).values(leader=leader, next_run_at=next_run_at))


async def prune(session: AsyncSession, *, keep: int = 2000) -> None:
    """Forgets all but the latest `keep` runs."""
    latest = sa.select(Run.id).order_by(Run.requested_at.desc()).limit(keep)
    await session.execute(sa.delete(Run).where(Run.id.not_in(latest), Run.state.not_in(ACTIVE)))


def parse_cron(cron: str) -> CronTrigger:
    """Raises Invalid."""
    try:
        return CronTrigger.from_crontab(cron, timezone=UTC)  # pyright: ignore[reportUnknownMemberType]
    except ValueError as error:
        message = f"is not a cron expression such as */5 * * * *: {error}"
        raise Invalid(f"{cron!r} {message}", errors=[FieldError(field="cron", message=message)]) from None


def _outcome(progress: Progress) -> RunState:
    if not progress.planned or (progress.failed and progress.failed == progress.total):
        return "failed"
    return "partial" if progress.failures else "succeeded"


def _counts(progress: Progress) -> dict[str, object]:
    failures = [{"key": failure.key, "reason": failure.reason} for failure in progress.failures]
    return {
        "total": progress.total,
        "filled": progress.filled,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "failures": failures,
    }


async def _notify(session: AsyncSession) -> None:
    await session.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))


def _contract(run: Run) -> WarmupRun:
    return msgspec.convert(run, WarmupRun, from_attributes=True)

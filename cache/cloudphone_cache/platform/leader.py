"""The warm-up's leader: one process over all runs what is triggered, by schedule or by hand."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from cloudphone_shared.database import Database
from cloudphone_shared.errors import Unavailable

from . import runs
from .warmup import Filler, Progress, warm

log = structlog.get_logger()

_LOCK = "cloudphone warmup leader"
_JOB = "warmup"
_STANDBY_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_REPORT_SECONDS = 0.25


class Leader:
    """Waits for the lock, then runs the schedule until its database connection ends. `users`: how many a run warms."""

    def __init__(
        self, database: Database, fillers: Sequence[Filler], *, cron: str, users: int, concurrency: int
    ) -> None:
        self._database = database
        self._fillers = fillers
        self._cron = cron
        self._users = users
        self._concurrency = concurrency
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    async def run(self) -> None:
        """Until cancelled; outages of the database are waited out."""
        while True:
            try:
                async with self._elected() as (connection, woken):
                    await self._lead(connection, woken)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, Unavailable) as error:
                log.warning("warmup_leader_waits", error=repr(error))
            await asyncio.sleep(_STANDBY_SECONDS)

    @asynccontextmanager
    async def _elected(self) -> AsyncGenerator[tuple[Any, asyncio.Event]]:
        """The lock, held on a connection of its own; the event is set by a change, or by the connection's end."""
        connection = cast(
            Any,
            await asyncpg.connect(self._database.url, timeout=3),  # pyright: ignore[reportUnknownMemberType]
        )
        woken = asyncio.Event()

        def wake(*_: object) -> None:
            woken.set()

        try:
            while not await connection.fetchval(  # noqa: ASYNC110  # another process's lock is waited for
                "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", _LOCK
            ):
                await asyncio.sleep(_STANDBY_SECONDS)
            await connection.add_listener(runs.CHANNEL, wake)
            connection.add_termination_listener(wake)
            log.info("warmup_leader_elected", leader=self._name)
            yield connection, woken
        finally:
            await connection.close(timeout=2)

    async def _lead(self, connection: Any, woken: asyncio.Event) -> None:
        async with self._database.writing() as session:
            await runs.abandon_interrupted(session)
        scheduler: Any = AsyncIOScheduler(timezone=UTC)
        scheduler.start()
        try:
            while not connection.is_closed():
                woken.clear()
                await self._follow_schedule(scheduler)
                await self._run_queued()
                await _woken_within(woken, _LOOK_SECONDS)
        finally:
            scheduler.shutdown(wait=False)

    async def _follow_schedule(self, scheduler: Any) -> None:
        async with self._database.writing() as session:
            status = await runs.status(session, self._cron)
            job = scheduler.get_job(_JOB)
            if status.paused and job:
                job.remove()
            elif not status.paused and (job is None or job.name != status.schedule):
                trigger = runs.parse_cron(status.schedule)
                job = scheduler.add_job(
                    self._trigger, trigger, id=_JOB, name=status.schedule, replace_existing=True, coalesce=True,
                    misfire_grace_time=60,
                )  # fmt: skip
            next_run_at: datetime | None = None if status.paused or job is None else job.next_run_time
            await runs.lead(session, self._name, next_run_at)

    async def _trigger(self) -> None:
        try:
            async with self._database.writing() as session:
                await runs.trigger(session, "schedule")
        except Unavailable as error:
            log.warning("warmup_not_triggered", reason=error.reason)

    async def _run_queued(self) -> None:
        async with self._database.writing() as session:
            run_id = await runs.take(session)
        if run_id is None:
            return
        reported = 0.0
        loop = asyncio.get_running_loop()

        async def report(progress: Progress) -> None:
            nonlocal reported
            if loop.time() - reported >= _REPORT_SECONDS:
                reported = loop.time()
                async with self._database.writing() as session:
                    await runs.report(session, run_id, progress)

        progress = await warm(self._fillers, users=self._users, concurrency=self._concurrency, report=report)
        async with self._database.writing() as session:
            await runs.finish(session, run_id, progress)
            await runs.prune(session)
        log.info(
            "warmup_finished", run_id=str(run_id), total=progress.total, filled=progress.filled,
            skipped=progress.skipped, failed=progress.failed,
        )  # fmt: skip


async def _woken_within(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass

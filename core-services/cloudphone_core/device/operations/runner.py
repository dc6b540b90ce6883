"""The worker of operations: takes what waits, does it, ends it. Killed anywhere, another goes on from there."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import Announcement
from cloudphone_shared.errors import Unavailable
from cloudphone_shared.settings import Devices

from ..adb import Adb, PhoneRefused
from ..models import DeviceRow
from ..providers.port import Provider, ProviderRefused
from . import claims
from .job import (
    Cancelled,
    GivesWay,
    Job,
    LeaseLost,
    OperationFacts,
    Outcome,
    Points,
    Settlements,
    Work,
    WorkFailed,
    Works,
    device_facts,
    nothing_happens,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: how long a worker may be silent, how often it looks for work unasked, how long it waits before it tries
    again (longer each time). `concurrency`: operations at once."""

    lease: float = 30.0
    poll: float = 3.0
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    concurrency: int = 16


class Runner:
    """Does operations of the kinds that `works` names. `settlements` says what else their ends change."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        adb: Adb,
        works: Works,
        settlements: Settlements,
        *,
        settings: Devices,
        pace: Pace = Pace(),  # noqa: B008
        points: Points = nothing_happens,
    ) -> None:
        self._database, self._provider, self._adb = database, provider, adb
        self._works, self._settlements = works, settlements
        self._settings, self._pace, self._points = settings, pace, points
        self._woken = asyncio.Event()
        self._free = asyncio.Semaphore(pace.concurrency)
        self._doing: dict[asyncio.Task[None], UUID] = {}

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled; what is under way then is left for others, who may begin at once."""
        try:
            while True:
                self._woken.clear()
                await self._take_all()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll):
                        await self._woken.wait()
        finally:
            await self._stop()

    async def _take_all(self) -> None:
        try:
            while True:
                await self._free.acquire()
                operation = await self._claimed()
                if operation is None:
                    return
                task = asyncio.create_task(self._do(operation))
                self._doing[task] = operation.token
                task.add_done_callback(self._done)
        except Unavailable as error:
            log.warning("operations_postponed", reason=str(error))

    async def _claimed(self) -> OperationFacts | None:
        operation = None
        try:
            operation = await claims.claim(
                self._database, list(self._works), self._pace.lease, self._settings.nodes_served
            )
        finally:
            if operation is None:
                self._free.release()
        return operation

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._doing[task]
        self._free.release()
        # The device may have more work, which could not begin beside this one.
        self.wake()
        if not task.cancelled() and (error := task.exception()):
            log.error("operation_lost", exc_info=error)

    async def _stop(self) -> None:
        tokens = list(self._doing.values())
        tasks = list(self._doing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tokens:
            with contextlib.suppress(Unavailable):
                await claims.let_go(self._database, tokens)

    async def _do(self, operation: OperationFacts) -> None:
        with structlog.contextvars.bound_contextvars(
            operation_id=str(operation.id), kind=operation.kind, device_id=str(operation.device_id)
        ):
            try:
                await self._attempt(operation)
            except LeaseLost:
                log.warning("operation_taken_away")
            except Unavailable as error:
                # Nothing could be written of it: it is taken up again when its lease has run out.
                log.warning("operation_interrupted", reason=str(error))

    async def _attempt(self, operation: OperationFacts) -> None:
        operation = await claims.begin(self._database, operation)
        async with self._database.reading() as session:
            device = await device_facts(session, operation.device_id)
        job = Job(
            operation=operation,
            device=device,
            database=self._database,
            provider=self._provider,
            adb=self._adb,
            settings=self._settings,
            lease_seconds=self._pace.lease,
            points=self._points,
        )
        outcome = await self._worked(job)
        if outcome is None:
            return
        await job.point("done")
        await claims.finish(self._database, outcome, self._settlements.get(operation.kind, _nothing_more))
        log.info("operation_ended", outcome=outcome.state, code=outcome.code or None, attempt=operation.attempt)

    async def _worked(self, job: Job) -> Outcome | None:
        """None: it is to be tried again. Raises LeaseLost; Unavailable where even that cannot be written."""
        try:
            result = await self._while_leased(job, self._works[job.operation.kind])
        except Cancelled:
            return Outcome(operation=job.operation, state="cancelled", code="cancelled", detail="It was cancelled")
        except WorkFailed as failed:
            if failed.retry_after is None:
                return _failed(job.operation, failed.code, failed.detail)
            await self._again(job.operation, failed.retry_after, failed.detail)
        except (ProviderRefused, PhoneRefused) as refused:
            return _failed(job.operation, refused.code, refused.detail)
        except GivesWay as given:
            await self._again(job.operation, given.retry_after, "gives way")
        except Unavailable as error:
            await self._again(job.operation, self._pause(job.operation), str(error))
        except LeaseLost:
            raise
        except Exception:
            # A bug of ours is no reason to leave a device half-way: it is said, and tried a few times more.
            log.exception("operation_stumbled", attempt=job.operation.attempt)
            if job.operation.attempt >= _MOST_STUMBLES:
                return _failed(job.operation, "internal", "The platform stumbled; its log says over what")
            await self._again(job.operation, self._pause(job.operation), "stumbled")
        else:
            return Outcome(operation=job.operation, state="succeeded", result=result or {})
        return None

    async def _while_leased(self, job: Job, work: Work) -> dict[str, Any] | None:
        """Does the work and renews its lease meanwhile. A work whose lease is lost is ended where it stands."""
        doing = asyncio.ensure_future(work(job))
        keeping = asyncio.ensure_future(self._keep(job.operation))
        try:
            await asyncio.wait([doing, keeping], return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                keeping.result()
            return await doing
        finally:
            for one in (doing, keeping):
                one.cancel()
            await asyncio.gather(doing, keeping, return_exceptions=True)

    async def _keep(self, operation: OperationFacts) -> None:
        """Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            with contextlib.suppress(Unavailable):
                await claims.renew(self._database, operation, self._pace.lease)

    async def _again(self, operation: OperationFacts, after: float, reason: str) -> None:
        log.info("operation_postponed", after=after, reason=reason, attempt=operation.attempt)
        await claims.give_back(self._database, operation, after, f"to be tried again: {reason}"[:500])

    def _pause(self, operation: OperationFacts) -> float:
        return self._pace.backoff[min(operation.attempt, len(self._pace.backoff)) - 1]


_MOST_STUMBLES = 5


def _failed(operation: OperationFacts, code: str, detail: str) -> Outcome:
    return Outcome(operation=operation, state="failed", code=code, detail=detail)


async def _nothing_more(session: AsyncSession, device: DeviceRow, outcome: Outcome) -> list[Announcement]:
    return []


def merged(*tables: Mapping[OperationKind, Any]) -> dict[OperationKind, Any]:
    """Raises ValueError for a kind that two of them claim."""
    found: dict[OperationKind, Any] = {}
    for table in tables:
        if twice := found.keys() & table.keys():
            raise ValueError(f"two works for {sorted(twice)}")
        found |= table
    return found

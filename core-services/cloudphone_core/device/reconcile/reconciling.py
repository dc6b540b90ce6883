"""Compares and repairs, by the clock and when somebody asks: one at a time over all workers of a provider."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
import msgspec
import sqlalchemy as sa
import structlog

from cloudphone_shared.contracts.device import Provider as ProviderName
from cloudphone_shared.contracts.phone import ReconcileFinding
from cloudphone_shared.database import Database
from cloudphone_shared.database.engine import CONNECT_SECONDS, asyncpg_url
from cloudphone_shared.errors import Unavailable

from ..models import ReconcileReportRow
from ..providers.port import DEPLOYMENT, Container, Provider, ProviderRefused
from . import facts, reports
from .comparing import Case, Grace, compare
from .repairing import Repairer

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('cloudphone reconcile ' || $1, 0))"
_AT_ONCE = 16
_BREATH = 250
"""Findings after which other work of the process gets its turn."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds: from the end of one comparison to the next, and between looks for one that somebody asked for."""

    every: float = 300.0
    poll: float = 2.0


class Reconciler:
    """`deployment`: whose containers are ours. `nodes`: names of those whose devices must be among them, None: all."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        *,
        name: ProviderName,
        deployment: str,
        nodes: Sequence[str] | None = None,
        grace: Grace | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._database, self._provider = database, provider
        self._name: ProviderName = name
        self._deployment, self._nodes = deployment, nodes
        self._grace, self._pace = grace or Grace(), pace or Pace()
        self._repairer = Repairer(database, provider)
        self._done_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._is_due():
                    await self.once()
            except Unavailable as error:
                log.warning("reconciling_postponed", reason=str(error))
            await asyncio.sleep(self._pace.poll)

    async def once(self) -> UUID | None:
        """The report's id; None when another worker is at it."""
        async with self.alone() as alone:
            if not alone:
                return None
            async with self._database.writing() as session:
                report_id = (await reports.ask_for(session, self._name)).id
            started_at = datetime.now(UTC)
            found = await self._found()
            async with self._database.writing() as session:
                await reports.finish(session, report_id, started_at, found)
        self._done_at = time.monotonic()
        log.info(
            "reconciled", rows=found.rows, containers=found.containers, findings=len(found.findings),
            failure=found.failure,
        )  # fmt: skip
        return report_id

    async def _is_due(self) -> bool:
        """Somebody waits for a report, or the last one is long ago: anybody's, or its own if it has its own nodes."""
        mine = ReconcileReportRow.provider == self._name
        asked = sa.exists().where(mine, ReconcileReportRow.finished_at.is_(None))
        last = sa.select(sa.func.max(ReconcileReportRow.finished_at)).where(mine).scalar_subquery()
        recent = last > sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, 0, 0, 0, self._pace.every)
        async with self._database.reading() as session:
            waiting, lately = (await session.execute(sa.select(asked, sa.func.coalesce(recent, False)))).one()
        own = time.monotonic() - self._done_at < self._pace.every
        return waiting or not (lately if self._nodes is None else own)

    async def _found(self) -> reports.Found:
        """A provider that is away leaves a report that says so."""
        began = time.monotonic()
        try:
            ours, foreign = await self._containers()
            volumes = await self._provider.volumes({DEPLOYMENT: self._deployment})
        except (Unavailable, ProviderRefused) as error:
            return reports.Found(failure=str(error))
        # Rows are read after containers: what was made since then is not missed.
        async with self._database.reading() as session:
            rows = await facts.rows_of(session, provider=self._name, nodes=self._nodes)
            snapshots = await facts.snapshot_volumes(session)
        compared = time.monotonic()
        cases = await _at_leisure(compare(rows, ours, volumes, snapshots, datetime.now(UTC), self._grace))
        findings = await self._repaired(cases)
        return reports.Found(
            rows=len(rows),
            containers=len(ours),
            foreign=foreign,
            findings=findings[: reports.MOST_FINDINGS],
            figures={
                "findings": len(findings),
                "repaired": sum(finding.repair is not None for finding in findings),
                "volumes": len(volumes),
                "readSeconds": round(compared - began, 3),
                "repairSeconds": round(time.monotonic() - compared, 3),
            },
        )

    async def _containers(self) -> tuple[list[Container], int]:
        """Ours, and how many others there are."""
        found = await self._provider.find({})
        ours = [container for container in found if container.labels.get(DEPLOYMENT) == self._deployment]
        return ours, len(found) - len(ours)

    async def _repaired(self, cases: Sequence[Case]) -> list[ReconcileFinding]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def repair(case: Case) -> ReconcileFinding | None:
            async with slots:
                return await self._finding(case)

        found = await asyncio.gather(*(repair(case) for case in cases))
        return [finding for finding in found if finding is not None]

    async def _finding(self, case: Case) -> ReconcileFinding | None:
        """None for what agrees by now."""
        detail, repair = case.detail, None
        try:
            still, repair = await self._repairer.repaired(case)
            if not still:
                return None
        except (Unavailable, ProviderRefused) as error:
            detail = f"{detail}; it could not be repaired: {error}"
        return ReconcileFinding(
            kind=case.kind, device_id=case.device_id, subject=case.subject, detail=detail, repair=repair
        )

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[bool]:
        """Holds the lock on a connection of its own: it falls with the process that has it."""
        try:
            connection = cast("Any", await asyncpg.connect(asyncpg_url(self._database.url), timeout=CONNECT_SECONDS))  # pyright: ignore
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise Unavailable("device database", f"{error!r}") from error
        try:
            yield bool(await connection.fetchval(_LOCK, f"{self._database.schema} {self._name}"))
        finally:
            connection.terminate()


async def _at_leisure(cases: Iterator[Case]) -> list[Case]:
    found: list[Case] = []
    for case in cases:
        found.append(case)
        if len(found) % _BREATH == 0:
            await asyncio.sleep(0)
    return found

"""The worker of sagas: looks for those that are due whenever it is woken, and every now and then unasked."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database import Database
from cloudphone_shared.database.engine import CONNECT_SECONDS, asyncpg_url
from cloudphone_shared.errors import Unavailable

from .engine import Engine
from .models import SagaRow
from .steps import Pace

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CHANNEL = "billing_sagas"
_RECONNECT_SECONDS = 1.0


async def wake(session: AsyncSession, saga_id: UUID) -> None:
    """What it waits for may have come: it is looked at after the commit. One that is being driven looks itself."""
    now = sa.func.clock_timestamp()
    due = (
        sa.update(SagaRow)
        .where(SagaRow.id == saga_id, SagaRow.lease_token.is_(None), SagaRow.wake_at > now)
        .values(wake_at=now)
        .returning(sa.func.pg_notify(CHANNEL, ""))
    )
    await session.execute(due.execution_options(synchronize_session=False))


class Runner:
    def __init__(self, database: Database, engine: Engine, pace: Pace = Pace()) -> None:  # noqa: B008
        self._database, self._engine, self._pace = database, engine, pace
        self._woken = asyncio.Event()
        self._busy = 0

    async def run(self) -> None:
        """Until cancelled; what is under way then may be taken up by others at once."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self._listen())
            while True:
                self._woken.clear()
                self._look(work)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll):
                        await self._woken.wait()

    def _look(self, work: asyncio.TaskGroup) -> None:
        if self._busy < self._pace.concurrency:
            self._busy += 1
            work.create_task(self._take(work))

    async def _take(self, work: asyncio.TaskGroup) -> None:
        try:
            while await self._engine.take_due():
                # Where one was due there may be more than one can do.
                self._look(work)
        except Unavailable as error:
            log.warning("sagas_postponed", reason=str(error))
        except Exception:
            log.exception("saga_lost")
        finally:
            self._busy -= 1

    async def _listen(self) -> None:
        connect = cast(Callable[..., Awaitable[Any]], asyncpg.connect)  # pyright: ignore[reportUnknownMemberType]
        lost = asyncio.Event()
        while True:
            lost.clear()
            try:
                connection = await connect(asyncpg_url(self._database.url), timeout=CONNECT_SECONDS)
                try:
                    connection.add_termination_listener(_setting(lost))
                    await connection.add_listener(CHANNEL, _setting(self._woken))
                    self._woken.set()
                    await lost.wait()
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("sagas_not_listening", reason=repr(error))
            await asyncio.sleep(_RECONNECT_SECONDS)


def _setting(event: asyncio.Event) -> Callable[..., None]:
    def hear(*_: object) -> None:
        event.set()

    return hear

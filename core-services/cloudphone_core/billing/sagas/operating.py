"""What an operator does with sagas: look, wake, and turn back what has not gone too far."""

import asyncio
import contextlib
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.auth import Caller
from cloudphone_shared.database import Database
from cloudphone_shared.errors import NotFound, StateConflict

from .engine import Engine
from .models import LIVE, SagaRow
from .runner import wake

_PATIENCE_SECONDS = 2.0
_LOOK_SECONDS = 0.05


async def seen(session: AsyncSession, caller: Caller, saga_id: UUID, *, lock: bool = False) -> SagaRow:
    """Raises NotFound for one that the caller may not see."""
    saga = await session.get(SagaRow, saga_id, with_for_update=lock)
    if saga is None or not caller.sees(saga.tenant_id, saga.user_id):
        raise NotFound("There is no such saga")
    return saga


async def resume(database: Database, engine: Engine, caller: Caller, saga_id: UUID) -> None:
    """It is taken up now, not when its pause is over. One that waits looks again whether what it waits for is there."""
    async with database.writing() as session:
        saga = await seen(session, caller, saga_id, lock=True)
        if saga.state not in LIVE:
            raise StateConflict(f"The saga is {saga.state}", current_state=saga.state, allowed=[])
        await wake(session, saga_id)
    await engine.take_due(saga_id)


async def turn_back(database: Database, engine: Engine, saga_id: UUID, reason: str, actor: str) -> None:
    """Undoes what was done, as far as that goes at once; a worker does the rest. Raises StateConflict where that is
    under way already, and once the point of no return is reached."""
    async with database.writing() as session:
        saga = await session.get_one(SagaRow, saga_id, with_for_update=True)
        turning = saga.state == "compensating" or saga.cancel_reason is not None
        if turning or saga.state not in LIVE or not engine.may_turn_back(saga):
            raise StateConflict(
                f"The purchase is {saga.state} at {saga.step}: it cannot be turned back now",
                current_state=saga.state,
                allowed=[],
            )
        saga.cancel_reason = reason
        saga.data = {**saga.data, "cancelled_by": actor}
        await wake(session, saga_id)
    if not await engine.take_due(saga_id):
        await _undone_elsewhere(database, saga_id)


async def _undone_elsewhere(database: Database, saga_id: UUID) -> None:
    """A worker was first: it is given a while, so that who asked is answered what came of it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                async with database.reading() as session:
                    if (await session.get_one(SagaRow, saga_id)).state not in LIVE:
                        return
                await asyncio.sleep(_LOOK_SECONDS)

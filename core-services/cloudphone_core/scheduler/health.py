"""Which nodes are alive, by their heartbeats and the database's clock.

A clock that was put forward would make every node silent at once, so silence is measured twice: a node is offline
when the database has not heard of it for long enough, and no jump of that clock explains it. One that was put back
leaves heartbeats in the future; they are taken for heartbeats of now.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.scheduler import NodeReport
from cloudphone_shared.database import Announcement, announce, announce_all
from cloudphone_shared.events.scheduler import NodeOffline, NodeOnline

from .models import NodeRow

_TOLERANCE_SECONDS = 2.0


async def note_heartbeat(session: AsyncSession, node_id: UUID, report: NodeReport) -> None:
    """Also of a node that the device service has not told of yet."""
    before = await session.scalar(sa.select(NodeRow.health).where(NodeRow.id == node_id).with_for_update())
    seen: dict[str, Any] = {
        "health": "online",
        "last_heartbeat_at": sa.func.clock_timestamp(),
        "report": msgspec.to_builtins(report),
    }
    await session.execute(
        insert(NodeRow)
        .values(id=node_id, **UNKNOWN, **seen)
        .on_conflict_do_update(index_elements=[NodeRow.id], set_=seen)
    )
    if before != "online":
        await announce(session, NodeOnline(node_id=node_id))


UNKNOWN: dict[str, Any] = {
    "version": 0,
    "name": "",
    "region": "",
    "status": "offline",
    "capacity": 0,
    "weight": 1,
    "labels": {},
    "deleted": False,
    "stale": True,
    "live": 0,
}
"""A node of which nothing but its id is known."""


class Watch:
    """Finds the silent. `monotonic` is this process's own clock, in seconds."""

    def __init__(self, silence_seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._silence = silence_seconds
        self._monotonic = monotonic
        self._last: tuple[float, float] | None = None
        self._blind_until = float("-inf")

    async def sweep(self, session: AsyncSession) -> list[UUID]:
        """Takes the silent offline and announces it; returns who was."""
        now: datetime = (await session.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        await session.execute(_NOT_IN_THE_FUTURE)
        if not self._believes(now):
            return []
        silent = (await session.execute(_SILENT, {"seconds": self._silence})).all()
        await announce_all(session, _told(silent))
        return [node_id for node_id, _ in silent]

    def _believes(self, now: datetime) -> bool:
        """False for as long as a node may be silent after the database's clock went another way than ours."""
        ours, theirs = self._monotonic(), now.timestamp()
        if self._last is not None:
            apart = (theirs - self._last[1]) - (ours - self._last[0])
            if abs(apart) > _TOLERANCE_SECONDS:
                self._blind_until = ours + self._silence
        self._last = ours, theirs
        return ours >= self._blind_until


def _told(silent: Sequence[Any]) -> list[Announcement]:
    return [Announcement(event=NodeOffline(node_id=node_id, last_heartbeat_at=at)) for node_id, at in silent]


_NOT_IN_THE_FUTURE = (
    sa.update(NodeRow)
    .where(NodeRow.last_heartbeat_at > sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, 1))
    .values(last_heartbeat_at=sa.func.clock_timestamp())
    .execution_options(synchronize_session=False)
)
_SILENT = sa.text(f"""
UPDATE {NodeRow.__table__} SET health = 'offline' WHERE id IN (
    SELECT id FROM {NodeRow.__table__}
    WHERE health = 'online' AND last_heartbeat_at < clock_timestamp() - make_interval(secs => :seconds)
    ORDER BY id FOR UPDATE SKIP LOCKED
) RETURNING id, last_heartbeat_at
""")  # noqa: S608

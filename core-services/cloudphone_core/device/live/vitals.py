"""How phones are doing, as the worker that looks after them wrote it last."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.phone import Vitals
from cloudphone_shared.database import Database

from ..adb import PhoneVitals
from ..models import VitalsRow
from .access import Reached

STALE_SECONDS = 45.0
"""A phone that has not answered for so long is not shown as online, whatever it was."""
_FIGURES = PhoneVitals.__struct_fields__
_RECORD = sa.text("""
    INSERT INTO device.device_vitals AS known
        (device_id, at, cpu_load, memory_used, memory_total, storage_used, storage_total, foreground)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:moments AS timestamptz[]), CAST(:cpu_load AS float8[]),
        CAST(:memory_used AS bigint[]), CAST(:memory_total AS bigint[]),
        CAST(:storage_used AS bigint[]), CAST(:storage_total AS bigint[]), CAST(:foreground AS text[])
    )
    ON CONFLICT (device_id) DO UPDATE SET
        at = excluded.at, cpu_load = excluded.cpu_load, foreground = excluded.foreground,
        memory_used = excluded.memory_used, memory_total = excluded.memory_total,
        storage_used = excluded.storage_used, storage_total = excluded.storage_total
    WHERE known.at < excluded.at
""")


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a phone: what it answered, and when."""

    device_id: UUID
    at: datetime
    vitals: PhoneVitals


async def vitals_of(database: Database, reached: Sequence[Reached]) -> dict[UUID, Vitals]:
    """Of each the last that is known; all None for a phone that has never been looked at."""
    ids = [each.device_id for each in reached]
    known = sa.select(VitalsRow).where(VitalsRow.device_id.in_(ids))
    async with database.reading() as session:
        found = {row.device_id: row for row in await session.scalars(known)}
    return {each.device_id: _vitals(each, found.get(each.device_id)) for each in reached}


async def record(session: AsyncSession, looks: Sequence[Looked]) -> None:
    """All in one statement; what is there already and newer stays."""
    await session.execute(
        _RECORD,
        {
            "ids": [look.device_id for look in looks],
            "moments": [look.at for look in looks],
            **{name: [getattr(look.vitals, name) for look in looks] for name in _FIGURES},
        },
    )


def _vitals(reached: Reached, row: VitalsRow | None) -> Vitals:
    now = datetime.now(UTC)
    known = row is not None and reached.state == "running"
    figures = {name: getattr(row, name) if known else None for name in _FIGURES}
    at = row.at if row is not None else reached.last_seen_at or now
    return Vitals(
        device_id=reached.device_id,
        at=at,
        online=known and now - at < timedelta(seconds=STALE_SECONDS),
        last_seen_at=reached.last_seen_at,
        **figures,
    )

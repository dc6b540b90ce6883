"""What the watch over phones writes of a run: when its phone was last seen, and where it is."""

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.database.outbox import announce_all

from ..models import DeviceRow
from ..moves import about, updated

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Rows that somebody changes right now are left for the next time; by the database's clock, as the runs themselves.
_SEEN = sa.text("""
    WITH heard AS (
        SELECT run_id, clock_timestamp() - make_interval(secs => seconds_ago) AS at
        FROM unnest(CAST(:runs AS uuid[]), CAST(:ages AS float8[])) AS each(run_id, seconds_ago)
    ), present AS (
        SELECT devices.id, heard.run_id, heard.at
        FROM device.devices JOIN heard ON heard.run_id = devices.run_id
        WHERE devices.state = 'running' ORDER BY devices.id FOR UPDATE OF devices SKIP LOCKED
    ), marked AS (
        UPDATE device.devices SET last_seen_at = greatest(devices.last_seen_at, present.at)
        FROM present WHERE devices.id = present.id
    )
    UPDATE device.device_runs SET last_seen_at = greatest(device_runs.last_seen_at, present.at)
    FROM present WHERE device_runs.run_id = present.run_id AND device_runs.stopped_at IS NULL
""")


def written(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


async def record_seen(session: AsyncSession, seconds_ago: Mapping[UUID, float]) -> None:
    """By run. A run that has ended is not seen any more; the device's version stays as it is."""
    await session.execute(_SEEN, {"runs": list(seconds_ago), "ages": list(seconds_ago.values())})


async def change(session: AsyncSession, device_id: UUID, run_id: UUID | None, address: tuple[str, int]) -> bool:
    """Whether it did: a device that has gone on to another run, or knows already, is left alone."""
    device = await session.get(DeviceRow, device_id, with_for_update=True, populate_existing=True)
    if device is None or device.state != "running" or device.run_id != run_id:
        return False
    if (device.adb_host, device.adb_port) == address:
        return False
    device.adb_host, device.adb_port = address
    await announce_all(session, [about(device, updated(device, ["adbHost", "adbPort"]))])
    log.info("phone_moved", device_id=str(device_id), address=written(address))
    return True

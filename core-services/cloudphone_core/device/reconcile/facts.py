"""What the database knows of devices that is held against containers."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..models import DeviceRow, NodeRow, OperationRow, SnapshotRow
from ..moves import DEADLINES
from .comparing import Row


async def rows_of(
    session: AsyncSession, *, provider: str | None = None, nodes: Sequence[str] | None = None, only: UUID | None = None
) -> list[Row]:
    """Every device that is not deleted; those on other nodes than these are not `served`. `nodes` None: all are."""
    unfinished = sa.exists().where(
        OperationRow.device_id == DeviceRow.id, OperationRow.state.in_(("queued", "running"))
    )
    asked = (
        sa.select(
            DeviceRow.id, DeviceRow.state, DeviceRow.desired_state, DeviceRow.run_id, DeviceRow.container_id,
            DeviceRow.volume_name, DeviceRow.adb_host, DeviceRow.adb_port, unfinished, NodeRow.name,
        )
        .outerjoin(NodeRow, NodeRow.id == DeviceRow.node_id)
        .where(DeviceRow.deleted_at.is_(None))
    )  # fmt: skip
    if provider is not None:
        asked = asked.where(DeviceRow.provider == provider)
    if only is not None:
        asked = asked.where(DeviceRow.id == only)
    return [
        Row(
            id=id_,
            state=state,
            desired_state=desired,
            run_id=run_id,
            container_id=container_id,
            volume_name=volume,
            address=(host, port) if host is not None and port is not None else None,
            # Whatever is on its way has a deadline of its own, and a sweeper.
            busy=working or state in DEADLINES,
            served=nodes is None or node in nodes,
        )
        for id_, state, desired, run_id, container_id, volume, host, port, working, node in await session.execute(asked)
    ]


async def snapshot_volumes(session: AsyncSession) -> set[str]:
    return set(await session.scalars(sa.select(SnapshotRow.volume_name).where(SnapshotRow.deleted_at.is_(None))))

"""What can be read of nodes and templates."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.device import Node, Template
from cloudphone_shared.database import versions_of
from cloudphone_shared.errors import NotFound

from .models import NodeRow, TemplateRow

MOST = 1000


async def nodes(session: AsyncSession) -> Answer[list[Node]]:
    """By name, at most 1,000."""
    rows = await session.scalars(
        sa.select(NodeRow).where(NodeRow.deleted_at.is_(None)).order_by(NodeRow.name).limit(MOST)
    )
    found = list(rows)
    versions = await versions_of(session, *(entities.node(row.id) for row in found))
    return Answer(data=[_node(row, versions) for row in found], entities=versions)


async def node(session: AsyncSession, node_id: UUID) -> Answer[Node]:
    """Raises NotFound."""
    versions = await versions_of(session, entities.node(node_id))
    row = await session.get(NodeRow, node_id)
    if row is None or row.deleted_at is not None:
        raise NotFound(entities=versions)
    return Answer(data=_node(row, versions), entities=versions)


async def templates(session: AsyncSession) -> Answer[list[Template]]:
    """By name, at most 1,000."""
    rows = await session.scalars(
        sa.select(TemplateRow).where(TemplateRow.deleted_at.is_(None)).order_by(TemplateRow.name).limit(MOST)
    )
    found = list(rows)
    versions = await versions_of(session, *(entities.template(row.id) for row in found))
    return Answer(data=[_template(row, versions) for row in found], entities=versions)


async def template(session: AsyncSession, template_id: UUID) -> Answer[Template]:
    """Raises NotFound."""
    versions = await versions_of(session, entities.template(template_id))
    row = await session.get(TemplateRow, template_id)
    if row is None or row.deleted_at is not None:
        raise NotFound(entities=versions)
    return Answer(data=_template(row, versions), entities=versions)


def _node(row: NodeRow, versions: dict[str, int]) -> Node:
    return Node(
        id=row.id,
        name=row.name,
        region=row.region,
        status=row.status,
        capacity=row.capacity,
        weight=row.weight,
        labels=row.labels,
        last_heartbeat_at=row.last_heartbeat_at,
        version=versions[entities.node(row.id)],
    )


def _template(row: TemplateRow, versions: dict[str, int]) -> Template:
    return Template(
        id=row.id,
        name=row.name,
        android_version=row.android_version,
        cpu_cores=row.cpu_cores,
        memory_mib=row.memory_mib,
        storage_gib=row.storage_gib,
        width=row.width,
        height=row.height,
        dpi=row.dpi,
        version=versions[entities.template(row.id)],
    )

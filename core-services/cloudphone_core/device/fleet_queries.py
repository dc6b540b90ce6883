"""What can be read of nodes and templates."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.device import Node, NodeStatus, Template
from cloudphone_shared.database import Cursors, Sorts, containing, equal, page, versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import NodeRow, TemplateRow

_NODE_SORTS = Sorts(
    {
        "name": NodeRow.name,
        "region": NodeRow.region,
        "status": NodeRow.status,
        "capacity": NodeRow.capacity,
        "createdAt": NodeRow.created_at,
    },
    tiebreak=NodeRow.id,
    default="name",
)
_TEMPLATE_SORTS = Sorts(
    {
        "name": TemplateRow.name,
        "androidVersion": TemplateRow.android_version,
        "createdAt": TemplateRow.created_at,
    },
    tiebreak=TemplateRow.id,
    default="name",
)


async def nodes(
    session: AsyncSession, asked: ListQuery, cursors: Cursors, *, status: NodeStatus | None, region: str | None
) -> Answer[Page[Node]]:
    """A page of them. Raises Invalid for an unknown sort, InvalidCursor."""
    statement = sa.select(NodeRow).where(
        NodeRow.deleted_at.is_(None),
        *equal((NodeRow.status, status), (NodeRow.region, region)),
        *containing(asked.search, NodeRow.name, NodeRow.region),
    )
    found = await page(
        session,
        statement,
        _NODE_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"nodes {status} {region!r} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    versions = await versions_of(session, entities.nodes(), *(entities.node(row.id) for row in found.items))
    items = [_node(row, versions) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=versions)


async def node(session: AsyncSession, node_id: UUID) -> Answer[Node]:
    """Raises NotFound."""
    versions = await versions_of(session, entities.node(node_id))
    row = await session.get(NodeRow, node_id)
    if row is None or row.deleted_at is not None:
        raise NotFound(entities=versions)
    return Answer(data=_node(row, versions), entities=versions)


async def templates(
    session: AsyncSession, asked: ListQuery, cursors: Cursors, *, android_version: str | None
) -> Answer[Page[Template]]:
    """A page of them. Raises Invalid for an unknown sort, InvalidCursor."""
    statement = sa.select(TemplateRow).where(
        TemplateRow.deleted_at.is_(None),
        *equal((TemplateRow.android_version, android_version)),
        *containing(asked.search, TemplateRow.name),
    )
    found = await page(
        session,
        statement,
        _TEMPLATE_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"templates {android_version!r} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    versions = await versions_of(session, entities.templates(), *(entities.template(row.id) for row in found.items))
    items = [_template(row, versions) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=versions)


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

"""What can be done to nodes and templates: one function per use case, in the caller's transaction.

They belong to no tenant: only a caller who sees all tenants changes them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.device import NodeCreate, NodePatch, TemplateCreate, TemplatePatch
from cloudphone_shared.database.outbox import announce
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import AlreadyExists, Conflict, NotFound
from cloudphone_shared.events.device import NodeChanged, TemplateChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import DeviceRow, NodeRow, TemplateRow

Versions = dict[str, int]
R = TypeVar("R", NodeRow, TemplateRow)


async def create_node(session: AsyncSession, wanted: NodeCreate) -> tuple[UUID, Versions]:
    """Online from the start. Raises AlreadyExists for a name in use."""
    node = NodeRow(id=uuid7(), status="online", created_at=datetime.now(UTC), **_fields(wanted))
    session.add(node)
    await _flush(session, f"A node named {wanted.name} exists already")
    event = NodeChanged(node_id=node.id, status=node.status, changed=["created"])
    return node.id, await announce(session, event, entities.node(node.id), entities.nodes())


async def change_node(session: AsyncSession, node_id: UUID, patch: NodePatch, expected: int | None) -> Versions:
    node = await _locked(session, NodeRow, node_id, entities.node(node_id), expected)
    changed = _apply(node, _fields(patch))
    if not changed:
        return {}
    await _flush(session, f"A node named {node.name} exists already")
    event = NodeChanged(node_id=node.id, status=node.status, changed=changed)
    return await announce(session, event, entities.node(node.id), entities.nodes())


async def hear_of_node(session: AsyncSession, node_id: UUID, *, online: bool) -> Versions:
    """What the scheduler noticed. Maintenance and draining are people's decisions: they stay."""
    node = await session.get(NodeRow, node_id, with_for_update=True)
    if node is None or node.deleted_at is not None or node.status != ("offline" if online else "online"):
        return {}
    node.status = "online" if online else "offline"
    event = NodeChanged(node_id=node.id, status=node.status, changed=["status"])
    return await announce(session, event, entities.node(node.id), entities.nodes())


async def delete_node(session: AsyncSession, node_id: UUID, expected: int | None) -> Versions:
    """Raises Conflict while devices stand on it."""
    node = await _locked(session, NodeRow, node_id, entities.node(node_id), expected)
    standing = exists().where(DeviceRow.node_id == node_id, DeviceRow.deleted_at.is_(None))
    if (await session.execute(select(standing))).scalar_one():
        raise Conflict(f"Devices stand on the node {node.name}")
    node.deleted_at = datetime.now(UTC)
    entity = entities.node(node.id)
    event = NodeChanged(node_id=node.id, status=node.status, changed=["deleted"])
    return await announce(session, event, entity, entities.nodes(), deleted=[entity])


async def create_template(session: AsyncSession, wanted: TemplateCreate) -> tuple[UUID, Versions]:
    """Raises AlreadyExists for a name in use."""
    template = TemplateRow(id=uuid7(), created_at=datetime.now(UTC), **_fields(wanted))
    session.add(template)
    await _flush(session, f"A template named {wanted.name} exists already")
    event = TemplateChanged(template_id=template.id, changed=["created"])
    return template.id, await announce(session, event, entities.template(template.id), entities.templates())


async def change_template(
    session: AsyncSession, template_id: UUID, patch: TemplatePatch, expected: int | None
) -> Versions:
    """For devices made from now on; those that exist show the new name and figures but keep what they run with."""
    template = await _locked(session, TemplateRow, template_id, entities.template(template_id), expected)
    changed = _apply(template, _fields(patch))
    if not changed:
        return {}
    await _flush(session, f"A template named {template.name} exists already")
    event = TemplateChanged(template_id=template.id, changed=changed)
    return await announce(session, event, entities.template(template.id), entities.templates())


async def delete_template(session: AsyncSession, template_id: UUID, expected: int | None) -> Versions:
    """Raises Conflict while devices are made from it."""
    template = await _locked(session, TemplateRow, template_id, entities.template(template_id), expected)
    made = exists().where(DeviceRow.template_id == template_id, DeviceRow.deleted_at.is_(None))
    if (await session.execute(select(made))).scalar_one():
        raise Conflict(f"Devices are made from the template {template.name}")
    template.deleted_at = datetime.now(UTC)
    entity = entities.template(template.id)
    event = TemplateChanged(template_id=template.id, changed=["deleted"])
    return await announce(session, event, entity, entities.templates(), deleted=[entity])


async def _locked(session: AsyncSession, kind: type[R], key: UUID, entity: str, expected: int | None) -> R:
    row = await session.get(kind, key, with_for_update=True)
    present = await versions_of(session, entity)
    if row is None or row.deleted_at is not None:
        raise NotFound(entities=present)
    check_version(expected, present[entity])
    return row


async def _flush(session: AsyncSession, taken: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise AlreadyExists(taken) from error


def _fields(wanted: msgspec.Struct) -> dict[str, Any]:
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return {name: value for name, value in given.items() if value is not msgspec.UNSET}


def _apply(row: NodeRow | TemplateRow, values: Mapping[str, Any]) -> list[str]:
    """The names of the fields that were not as wanted, and now are."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    return changed

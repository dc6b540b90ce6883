"""What composed screens ask of devices: one or a hundred at once, each read one statement."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.device import (
    Device,
    DevicesHeld,
    DeviceSummary,
    NodeSummary,
    TemplateSummary,
)
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, columns, many, row_of_each, version_of
from cloudphone_shared.errors import NotFound

from .models import Base, DeviceRow, NodeRow, TemplateRow
from .queries import knows_the_fleet

_SUMMARY = tuple(name for name in DeviceSummary.__struct_fields__ if name != "version")
_WHOLE = tuple(name for name in Device.__struct_fields__ if name not in ("node", "template", "version"))
_NODE, _TEMPLATE = NodeSummary.__struct_fields__, TemplateSummary.__struct_fields__


@cache
def _whole() -> Statement:
    present = sa.and_(DeviceRow.id == asked.c.id, DeviceRow.deleted_at.is_(None))
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.device, asked.c.id).label("version"),
            version_of(Base.metadata, entities.node, DeviceRow.node_id).label("node_version"),
            version_of(Base.metadata, entities.template, DeviceRow.template_id).label("template_version"),
            *columns(DeviceRow, _WHOLE),
            *columns(NodeRow, _NODE, "node_"),
            *columns(TemplateRow, _TEMPLATE, "template_"),
        )
        .select_from(asked)
        .outerjoin(DeviceRow, present)
        .outerjoin(TemplateRow, TemplateRow.id == DeviceRow.template_id)
        .outerjoin(NodeRow, NodeRow.id == DeviceRow.node_id)
    )


@cache
def _cards() -> Statement:
    present = sa.and_(DeviceRow.id == asked.c.id, DeviceRow.deleted_at.is_(None))
    return row_of_each(DeviceRow, _SUMMARY, entities.device, present)


@cache
def _held() -> Statement:
    first = (
        sa.select(DeviceRow, sa.func.count().over().label("total"))
        .where(DeviceRow.owner_id == asked.c.id)
        .order_by(DeviceRow.name, DeviceRow.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .lateral("held")
    )
    held = aliased(DeviceRow, first)
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.devices_of, asked.c.id).label("held_version"),
            version_of(Base.metadata, entities.device, held.id).label("version"),
            first.c.total,
            *(getattr(held, name).label(name) for name in _SUMMARY),
        )
        .select_from(asked)
        .outerjoin(first, sa.true())
        .order_by(asked.c.id, held.name, held.id)
    )


async def device(database: Database, caller: Caller, device_id: UUID) -> Answer[Device]:
    """Raises NotFound, also for a device outside the caller's data scope."""
    [row] = await database.rows(_whole(), ids=[device_id])
    if not _is_seen(row, caller):
        raise NotFound(entities={entities.device(device_id): row["version"]})
    return _device(row, caller)


async def devices(database: Database, caller: Caller, device_ids: Sequence[UUID]) -> Answer[Many[Device]]:
    rows = await database.rows(_whole(), ids=device_ids)
    return many({row["asked"]: _device(row, caller) for row in rows if _is_seen(row, caller)}, _absent(rows, caller))


async def cards(database: Database, caller: Caller, device_ids: Sequence[UUID]) -> Answer[Many[DeviceSummary]]:
    rows = await database.rows(_cards(), ids=device_ids)
    return many({row["asked"]: _card(row, caller) for row in rows if _is_seen(row, caller)}, _absent(rows, caller))


async def held_by(database: Database, caller: Caller, user_ids: Sequence[UUID], most: int) -> Answer[Many[DevicesHeld]]:
    """Of each user the first `most` devices by name, with how many there are. For who sees all devices."""
    held: dict[UUID, list[Answer[DeviceSummary]]] = {}
    totals: dict[UUID, int] = {}
    shown: dict[UUID, dict[str, int]] = {}
    for row in await database.rows(_held(), ids=user_ids, most=most):
        user_id: UUID = row["asked"]
        shown.setdefault(user_id, {entities.devices_of(user_id): row["held_version"]})
        if row["id"] is not None:
            held.setdefault(user_id, []).append(_card(row, caller))
            totals[user_id] = row["total"]
    found: dict[UUID, Answer[DevicesHeld]] = {}
    for user_id, versions in shown.items():
        items = held.get(user_id, [])
        for item in items:
            versions |= item.entities
        data = DevicesHeld(total=totals.get(user_id, 0), items=[item.data for item in items])
        found[user_id] = Answer(data=data, entities=versions)
    return many(found, {})


def _is_seen(row: Row, caller: Caller) -> bool:
    return row["id"] is not None and caller.sees(row["tenant_id"], row["owner_id"])


def _absent(rows: Sequence[Row], caller: Caller) -> dict[UUID, dict[str, int]]:
    return {row["asked"]: {entities.device(row["asked"]): row["version"]} for row in rows if not _is_seen(row, caller)}


def _device(row: Row, caller: Caller) -> Answer[Device]:
    fleet = knows_the_fleet(caller)
    shown = {
        entities.device(row["id"]): row["version"],
        entities.template(row["template_id"]): row["template_version"],
    }
    values: dict[str, Any] = {name: row[name] for name in _WHOLE}
    node = None
    if fleet and row["node_id"] is not None:
        node = NodeSummary(**{name: row["node_" + name] for name in _NODE})
        shown[entities.node(node.id)] = row["node_version"]
    if not fleet:
        values["adb_host"] = values["adb_port"] = None
    template = TemplateSummary(**{name: row["template_" + name] for name in _TEMPLATE})
    return Answer(data=Device(**values, node=node, template=template, version=row["version"]), entities=shown)


def _card(row: Row, caller: Caller) -> Answer[DeviceSummary]:
    values: dict[str, Any] = {name: row[name] for name in _SUMMARY}
    if not knows_the_fleet(caller):
        values["node_id"] = None
    return Answer(
        data=DeviceSummary(**values, version=row["version"]), entities={entities.device(row["id"]): row["version"]}
    )

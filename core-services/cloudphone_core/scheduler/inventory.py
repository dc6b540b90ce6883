"""What the scheduler knows of the fleet: a copy that follows the device service by entity version.

News of a state are written down as they come. Whatever else is told of a device, node or template marks it as stale,
and it is asked for; so is one whose state was heard before the rest. A whole reading of the fleet finds what no news
told of. The newest version wins, in whatever order and however often it comes.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from cloudphone_shared import entities
from cloudphone_shared.clients import CoreClients, Listing
from cloudphone_shared.contracts.common import MOST_IDS
from cloudphone_shared.contracts.device import Device, Node, Template
from cloudphone_shared.database import Database
from cloudphone_shared.errors import NotFound

from .health import UNKNOWN
from .models import DeviceRow, NodeRow, SettingsRow, SiteRow, TemplateRow
from .placing import hold

T = TypeVar("T", NodeRow, TemplateRow)

_ALL = 2**63 - 1
"""A `seq` above every event's: the service's answer holds all of its version."""


async def hear_state(session: AsyncSession, device_id: UUID, state: str, version: int, seq: int) -> None:
    """A device's state at `version`, by the event numbered `seq`; older news change nothing. They end a rest."""
    news: dict[str, Any] = {"version": version, "seq": seq, "state": state, "deleted": state == "deleted"}
    older = sa.tuple_(DeviceRow.version, DeviceRow.seq) < sa.tuple_(sa.literal(version), sa.literal(seq))
    await _insert_newer(session, DeviceRow, device_id, {**news, "stale": True}, {**news, "rest_until": None}, older)


async def mark_device(session: AsyncSession, device_id: UUID) -> None:
    """To be asked for."""
    unknown = {"version": 0, "seq": 0, "state": "creating", "deleted": False, "stale": True}
    await _insert_newer(session, DeviceRow, device_id, unknown, {"stale": True}, sa.true())


async def mark_node(session: AsyncSession, node_id: UUID, status: str, version: int) -> None:
    """To be asked for; a new status holds at once, so that nothing is placed on a node that is drained."""
    unknown = {**UNKNOWN, "health": "offline", "stale": True}
    await _insert_newer(session, NodeRow, node_id, unknown, {"stale": True}, sa.true())
    newer = sa.update(NodeRow).where(NodeRow.id == node_id, NodeRow.version < version, NodeRow.version > 0)
    await session.execute(newer.values(status=status).execution_options(synchronize_session=False))


async def mark_template(session: AsyncSession, template_id: UUID) -> None:
    """To be asked for."""
    unknown: dict[str, Any] = {"version": 0, "abis": [], "stale": True}
    await _insert_newer(session, TemplateRow, template_id, unknown, {"stale": True}, sa.true())


async def look_up(database: Database, core: CoreClients) -> int:
    """Asks for what is stale, at most a batch of each kind; returns how many there were."""
    async with database.reading() as session:
        devices = list(await session.scalars(sa.select(DeviceRow.id).where(DeviceRow.stale).limit(MOST_IDS)))
        nodes = list(await session.scalars(sa.select(NodeRow.id).where(NodeRow.stale).limit(MOST_IDS)))
        templates = list(await session.scalars(sa.select(TemplateRow.id).where(TemplateRow.stale).limit(MOST_IDS)))
    if devices:
        await _learn(database, core, devices)
    for node_id in nodes:
        await _learn_node(database, core, node_id)
    for template_id in templates:
        await _learn_template(database, core, template_id)
    return len(devices) + len(nodes) + len(templates)


async def synchronize(database: Database, core: CoreClients) -> None:
    """Reads the whole fleet, page by page, and then asks for whatever is known here but was not met."""
    await read_templates(database, core)
    met = {node.id async for node in _all_nodes(database, core)}
    async with database.reading() as session:
        known = set(await session.scalars(sa.select(NodeRow.id).where(~NodeRow.deleted, NodeRow.version > 0)))
    for node_id in known - met:
        await _learn_node(database, core, node_id)
    seen: set[UUID] = set()
    cursor: str | None = None
    while True:
        page = await core.device.page(Listing(limit=100, cursor=cursor, sort="createdAt"))
        if page.items:
            await _learn(database, core, page.items)
            seen.update(page.items)
        if (cursor := page.next_cursor) is None:
            break
    async with database.reading() as session:
        present = await session.scalars(sa.select(DeviceRow.id).where(~DeviceRow.deleted))
        rest = [device_id for device_id in present if device_id not in seen]
    for start in range(0, len(rest), MOST_IDS):
        await _learn(database, core, rest[start : start + MOST_IDS])
    async with database.writing() as session:
        await session.execute(sa.update(SettingsRow).values(synchronized_at=sa.func.clock_timestamp()))


async def read_templates(database: Database, core: CoreClients) -> None:
    cursor: str | None = None
    while True:
        page = await core.device.template_page(Listing(limit=100, cursor=cursor, sort="createdAt"))
        async with database.writing() as session:
            await _write(session, TemplateRow, [_template(template) for template in page.items])
        if (cursor := page.next_cursor) is None:
            return


async def write_devices(session: AsyncSession, tenant_id: UUID, devices: Iterable[Device]) -> None:
    """As the device service answered, all of one tenant."""
    rows = sorted((_device(device) for device in devices), key=lambda row: row["id"])
    await hold(session, tenant_id)
    statement = insert(DeviceRow)
    newer = statement.on_conflict_do_update(
        index_elements=[DeviceRow.id],
        set_={
            **{name: statement.excluded[name] for name in rows[0] if name != "id"},
            "rest_until": sa.case(
                (DeviceRow.version < statement.excluded.version, sa.null()), else_=DeviceRow.rest_until
            ),
        },
        where=DeviceRow.version <= statement.excluded.version,
    )
    await session.execute(newer, rows)
    sites = sorted({row["node_id"] for row in rows if row["node_id"] is not None})
    if sites:
        places = [{"tenant_id": tenant_id, "node_id": node_id} for node_id in sites]
        await session.execute(insert(SiteRow).on_conflict_do_nothing(), places)


async def write_nodes(session: AsyncSession, nodes: Iterable[Node]) -> None:
    await _write(session, NodeRow, [_node(node) for node in nodes])


async def _learn(database: Database, core: CoreClients, device_ids: Sequence[UUID]) -> None:
    answer = await core.device.get_many_full(device_ids)
    of_tenant: dict[UUID, list[Device]] = defaultdict(list)
    for found in answer.found.values():
        of_tenant[found.data.tenant_id].append(found.data)
    for tenant_id, devices in of_tenant.items():
        async with database.writing() as session:
            await write_devices(session, tenant_id, devices)
    async with database.writing() as session:
        for device_id, versions in sorted(answer.absent.items()):
            await _forget(session, UUID(device_id), versions.get(entities.device(device_id), 0))


async def _forget(session: AsyncSession, device_id: UUID, version: int) -> None:
    gone = sa.update(DeviceRow).where(DeviceRow.id == device_id, DeviceRow.version <= version)
    await session.execute(
        gone.values(version=version, seq=_ALL, state="deleted", deleted=True, stale=False).execution_options(
            synchronize_session=False
        )
    )


async def _learn_node(database: Database, core: CoreClients, node_id: UUID) -> None:
    try:
        node = await core.device.node(node_id)
    except NotFound as gone:
        version = gone.entities.get(entities.node(node_id), 0)
        async with database.writing() as session:
            known = sa.update(NodeRow).where(NodeRow.id == node_id, NodeRow.version <= version)
            await session.execute(known.values(deleted=True, stale=False, version=version))
        return
    async with database.writing() as session:
        await write_nodes(session, [node])


async def _learn_template(database: Database, core: CoreClients, template_id: UUID) -> None:
    try:
        templates = [_template(await core.device.template(template_id))]
    except NotFound:
        templates = []
    async with database.writing() as session:
        await _write(session, TemplateRow, templates)
        known = sa.update(TemplateRow).where(TemplateRow.id == template_id).values(stale=False)
        await session.execute(known.execution_options(synchronize_session=False))


async def _all_nodes(database: Database, core: CoreClients) -> AsyncGenerator[Node]:
    cursor: str | None = None
    while True:
        page = await core.device.node_page(Listing(limit=100, cursor=cursor, sort="createdAt"))
        async with database.writing() as session:
            await write_nodes(session, page.items)
        for node in page.items:
            yield node
        if (cursor := page.next_cursor) is None:
            return


async def _write(session: AsyncSession, model: type[T], rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(model)
    newer = statement.on_conflict_do_update(
        index_elements=[model.id],
        set_={name: statement.excluded[name] for name in rows[0] if name not in ("id", "health", "live")},
        where=model.version <= statement.excluded.version,
    )
    await session.execute(newer, sorted(rows, key=lambda row: row["id"]))


async def _insert_newer(
    session: AsyncSession,
    model: type[DeclarativeBase],
    key: UUID,
    first: Mapping[str, Any],
    news: Mapping[str, Any],
    where: sa.ColumnElement[bool],
) -> None:
    known = insert(model).values(id=key, **first)
    await session.execute(known.on_conflict_do_update(index_elements=["id"], set_=dict(news), where=where))


def _device(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "version": device.version,
        "seq": _ALL,
        "tenant_id": device.tenant_id,
        "node_id": device.node.id if device.node else None,
        "template_id": device.template.id,
        "state": device.state,
        "deleted": False,
        "stale": False,
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "version": node.version,
        "name": node.name,
        "region": node.region,
        "status": node.status,
        "capacity": node.capacity,
        "weight": node.weight,
        "labels": node.labels,
        "deleted": False,
        "stale": False,
        "health": "offline",
        "live": 0,
    }


def _template(template: Template) -> dict[str, Any]:
    return {"id": template.id, "version": template.version, "abis": template.abis, "stale": False}

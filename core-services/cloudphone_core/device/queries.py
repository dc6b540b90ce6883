"""What can be read of devices: contracts with their versions, in one snapshot, within the caller's data scope."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.device import (
    Device,
    DeviceState,
    DeviceStatistics,
    NodeSummary,
    StateChange,
    TemplateSummary,
)
from cloudphone_shared.database import Cursors, Sorts, containing, equal, page, versions_of
from cloudphone_shared.errors import Forbidden, NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import DeviceRow, NodeRow, StateLogRow, TemplateRow

MOST_OF_A_USER = 1000
HISTORY = 50
SORTS = Sorts(
    {
        "name": DeviceRow.name,
        "state": DeviceRow.state,
        "ownerName": DeviceRow.owner_name,
        "createdAt": DeviceRow.created_at,
        "updatedAt": DeviceRow.updated_at,
    },
    tiebreak=DeviceRow.id,
    default="-createdAt",
)


class DeviceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: DeviceState | None
    owner_id: UUID | None
    node_id: UUID | None
    tag: str | None
    tenant_id: UUID | None
    assigned: bool | None


def knows_the_fleet(caller: Caller) -> bool:
    """Nodes and ADB addresses are for staff and services: a customer is never told where a device stands."""
    return caller.kind == "service" or caller.role != "customer"


async def changed_device(
    session: AsyncSession, caller: Caller, device_id: UUID, announced: dict[str, int]
) -> Answer[Device]:
    """The device as this transaction leaves it, with what it announced: the answer to a write.

    Node and template may change meanwhile, so their versions are read before they are.
    """
    held = await session.get_one(DeviceRow, device_id)
    versions = await versions_of(session, *_shown(held, caller))
    row, node, template = (await session.execute(_whole(device_id))).one()
    return Answer(data=_device(row, node, template, versions, caller), entities=versions | announced)


async def device_ids(
    session: AsyncSession,
    caller: Caller,
    wanted: DeviceFilter,
    asked: ListQuery,
    cursors: Cursors,
) -> Answer[Page[UUID]]:
    """The ids of a page, searched by a part of the name or of the owner's name or e-mail address. The list as such has
    no version, so nobody keeps it.
    """
    if wanted.node_id is not None and not knows_the_fleet(caller):
        raise Forbidden("Customers cannot ask where devices stand")
    statement = sa.select(DeviceRow.id).where(
        DeviceRow.deleted_at.is_(None),
        _seen_by(caller),
        *_matching(wanted),
        *containing(asked.search, DeviceRow.name, DeviceRow.owner_name, DeviceRow.owner_email),
    )
    scope = f"devices {wanted} {asked.search!r} for {caller.data_scope} {caller.tenant_id} {caller.id}"
    listing = await page(
        session,
        statement,
        SORTS.parse(asked.sort),
        cursors=cursors,
        scope=scope,
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return Answer(data=Page(items=listing.items, next_cursor=listing.next_cursor), entities={})


async def devices_of(session: AsyncSession, caller: Caller, user_id: UUID) -> Answer[list[UUID]]:
    """The first 1,000 of the devices that the user holds and the caller sees, by name.

    Raises NotFound for a customer who asks about somebody else.
    """
    versions = await versions_of(session, entities.devices_of(user_id))
    if caller.data_scope == "self" and caller.id != str(user_id):
        raise NotFound(entities=versions)
    held = (
        sa.select(DeviceRow.id)
        .where(DeviceRow.owner_id == user_id, _seen_by(caller))
        .order_by(DeviceRow.name, DeviceRow.id)
        .limit(MOST_OF_A_USER)
    )
    return Answer(data=list(await session.scalars(held)), entities=versions)


async def history(session: AsyncSession, caller: Caller, device_id: UUID) -> Answer[list[StateChange]]:
    """The last 50 changes of state, latest first. Raises NotFound."""
    versions = await versions_of(session, entities.device(device_id))
    row = await session.get(DeviceRow, device_id)
    if row is None or row.deleted_at is not None or not caller.sees(row.tenant_id, row.owner_id):
        raise NotFound(entities=versions)
    log = await session.scalars(
        sa.select(StateLogRow).where(StateLogRow.device_id == device_id).order_by(StateLogRow.id.desc()).limit(HISTORY)
    )
    return Answer(data=msgspec.convert(list(log), list[StateChange], from_attributes=True), entities=versions)


async def statistics(session: AsyncSession, caller: Caller) -> Answer[DeviceStatistics]:
    """Counts within the caller's data scope; true for the moment, under no version."""
    counted = await session.execute(
        sa.select(DeviceRow.state, sa.func.count(), sa.func.count(DeviceRow.owner_id))
        .where(DeviceRow.deleted_at.is_(None), _seen_by(caller))
        .group_by(DeviceRow.state)
    )
    rows = [(state, number, assigned) for state, number, assigned in counted]
    return Answer(
        data=DeviceStatistics(
            total=sum(number for _, number, _ in rows),
            assigned=sum(assigned for _, _, assigned in rows),
            by_state={state: number for state, number, _ in rows},
        ),
        entities={},
    )


def _seen_by(caller: Caller) -> ColumnElement[bool]:
    """`Caller.sees`, for the database."""
    if caller.data_scope == "all":
        return sa.true()
    if caller.data_scope == "tenant":
        return DeviceRow.tenant_id == UUID(caller.tenant_id)
    return DeviceRow.owner_id == UUID(caller.id)


def _matching(wanted: DeviceFilter) -> Iterable[ColumnElement[bool]]:
    yield from equal(
        (DeviceRow.state, wanted.state),
        (DeviceRow.owner_id, wanted.owner_id),
        (DeviceRow.node_id, wanted.node_id),
        (DeviceRow.tenant_id, wanted.tenant_id),
    )
    if wanted.tag is not None:
        yield DeviceRow.tags.contains([wanted.tag])
    if wanted.assigned is not None:
        yield DeviceRow.owner_id.is_not(None) if wanted.assigned else DeviceRow.owner_id.is_(None)


def _whole(device_id: UUID) -> sa.Select[DeviceRow, NodeRow, TemplateRow]:
    return (
        sa.select(DeviceRow, NodeRow, TemplateRow)
        .join(TemplateRow, TemplateRow.id == DeviceRow.template_id)
        .outerjoin(NodeRow, NodeRow.id == DeviceRow.node_id)
        .where(DeviceRow.id == device_id, DeviceRow.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    )


def _shown(row: DeviceRow, caller: Caller) -> list[str]:
    shown = [entities.device(row.id), entities.template(row.template_id)]
    if row.node_id is not None and knows_the_fleet(caller):
        shown.append(entities.node(row.node_id))
    return shown


def _device(
    row: DeviceRow, node: NodeRow | None, template: TemplateRow, versions: dict[str, int], caller: Caller
) -> Device:
    fleet = knows_the_fleet(caller)
    return Device(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        owner_id=row.owner_id,
        owner_name=row.owner_name,
        owner_email=row.owner_email,
        state=row.state,
        desired_state=row.desired_state,
        provider=row.provider,
        node=msgspec.convert(node, NodeSummary, from_attributes=True) if node is not None and fleet else None,
        template=msgspec.convert(template, TemplateSummary, from_attributes=True),
        tags=row.tags,
        generation=row.generation,
        run_id=row.run_id,
        adb_host=row.adb_host if fleet else None,
        adb_port=row.adb_port if fleet else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=versions[entities.device(row.id)],
        last_error=row.last_error,
        allocation_id=row.allocation_id,
    )

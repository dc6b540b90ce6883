"""What can be read of the scheduler: contracts, within the caller's data scope."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.scheduler import (
    Allocation,
    AllocationRequest,
    AllocationState,
    Constraints,
    NodeReport,
    NodeResources,
    Placement,
    RequestState,
)
from cloudphone_shared.database import Cursors, Sorts, equal, page
from cloudphone_shared.errors import Conflict, NotFound
from cloudphone_shared.http.lists import ListQuery

from .choice import Wish, explain
from .models import AllocationRow, DeviceRow, NodeRow, RequestRow

_ALLOCATION_SORTS = Sorts({"createdAt": AllocationRow.created_at}, tiebreak=AllocationRow.id, default="-createdAt")
_REQUEST_SORTS = Sorts({"createdAt": RequestRow.created_at}, tiebreak=RequestRow.id, default="-createdAt")


class AllocationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    state: AllocationState | None
    user_id: UUID | None
    device_id: UUID | None
    node_id: UUID | None


async def allocations(
    session: AsyncSession, caller: Caller, wanted: AllocationFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Allocation]]:
    statement = sa.select(AllocationRow).where(
        _seen(caller, AllocationRow),
        *equal(
            (AllocationRow.state, wanted.state),
            (AllocationRow.user_id, wanted.user_id),
            (AllocationRow.device_id, wanted.device_id),
            (AllocationRow.node_id, wanted.node_id),
        ),
    )
    found = await page(
        session,
        statement,
        _ALLOCATION_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"allocations {wanted} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    items = [allocation_of(row) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities={})


async def allocation(session: AsyncSession, caller: Caller, allocation_id: UUID) -> Answer[Allocation]:
    """Raises NotFound."""
    row = await session.get(AllocationRow, allocation_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound
    return Answer(data=allocation_of(row), entities={})


async def requests(
    session: AsyncSession, caller: Caller, state: RequestState | None, asked: ListQuery, cursors: Cursors
) -> Answer[Page[AllocationRequest]]:
    statement = sa.select(RequestRow).where(_seen(caller, RequestRow), *equal((RequestRow.state, state)))
    found = await page(
        session,
        statement,
        _REQUEST_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"requests {state} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    items = await _requests(session, found.items)
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities={})


async def request(session: AsyncSession, caller: Caller, request_id: UUID) -> Answer[AllocationRequest]:
    """Raises NotFound."""
    row = await _request(session, caller, request_id)
    return Answer(data=(await _requests(session, [row]))[0], entities={})


async def explanation(session: AsyncSession, caller: Caller, request_id: UUID) -> Answer[Placement]:
    """Of a request that waits, as things stand now. Raises NotFound, and Conflict for one that waits no more."""
    row = await _request(session, caller, request_id)
    if row.state != "queued":
        raise Conflict(f"The request is {row.state}: only one that waits has anything to explain")
    wish = Wish(
        tenant_id=row.tenant_id, constraints=msgspec.convert(row.constraints, Constraints), strategy=row.strategy
    )
    return Answer(data=await explain(session, wish, None), entities={})


async def nodes(session: AsyncSession) -> Answer[list[NodeResources]]:
    """All of them, by name."""
    here = sa.select(sa.func.count()).where(DeviceRow.node_id == NodeRow.id, ~DeviceRow.deleted)
    idle = here.where(DeviceRow.state == "idle", DeviceRow.allocation_id.is_(None))
    statement = (
        sa.select(NodeRow, here.scalar_subquery(), idle.scalar_subquery())
        .where(NodeRow.version > 0, ~NodeRow.deleted)
        .order_by(NodeRow.name, NodeRow.id)
    )
    rows = await session.execute(statement)
    return Answer(data=[_node(node, devices, free) for node, devices, free in rows], entities={})


def allocation_of(row: AllocationRow) -> Allocation:
    return msgspec.convert(row, Allocation, from_attributes=True)


async def _request(session: AsyncSession, caller: Caller, request_id: UUID) -> RequestRow:
    row = await session.get(RequestRow, request_id)
    if row is None or not caller.sees(row.tenant_id, row.user_id):
        raise NotFound
    return row


async def _requests(session: AsyncSession, rows: Iterable[RequestRow]) -> list[AllocationRequest]:
    rows = list(rows)
    given = [row.allocation_id for row in rows if row.allocation_id is not None]
    found = await session.scalars(sa.select(AllocationRow).where(AllocationRow.id.in_(given)))
    of_request = {row.request_id: allocation_of(row) for row in found}
    places = await _places(session, [row.id for row in rows if row.state == "queued"])
    return [
        AllocationRequest(
            id=row.id,
            tenant_id=row.tenant_id,
            user_id=row.user_id,
            order_id=row.order_id,
            constraints=msgspec.convert(row.constraints, Constraints),
            strategy=row.strategy,
            state=row.state,
            place=places.get(row.id),
            deadline_at=row.deadline_at,
            created_at=row.created_at,
            allocation=of_request.get(row.id),
            failure=row.failure,
        )
        for row in rows
    ]


async def _places(session: AsyncSession, queued: list[UUID]) -> dict[UUID, int]:
    """In the queue of the request's tenant, from 1."""
    if not queued:
        return {}
    before = aliased(RequestRow)
    count = (
        sa.select(sa.func.count())
        .where(before.tenant_id == RequestRow.tenant_id, before.state == "queued", before.seq <= RequestRow.seq)
        .scalar_subquery()
    )
    rows = await session.execute(sa.select(RequestRow.id, count).where(RequestRow.id.in_(queued)))
    return {row[0]: row[1] for row in rows}


def _seen(caller: Caller, rows: type[AllocationRow] | type[RequestRow]) -> ColumnElement[bool]:
    """`Caller.sees`, for the database."""
    if caller.data_scope == "all":
        return sa.true()
    if caller.data_scope == "tenant":
        return rows.tenant_id == UUID(caller.tenant_id)
    return rows.user_id == UUID(caller.id)


def _node(row: NodeRow, devices: int, idle: int) -> NodeResources:
    return NodeResources(
        node_id=row.id,
        name=row.name,
        region=row.region,
        status=row.status,
        health=row.health,
        capacity=row.capacity,
        weight=row.weight,
        labels=row.labels,
        devices=devices,
        idle=idle,
        live=row.live,
        last_heartbeat_at=row.last_heartbeat_at,
        report=None if row.report is None else msgspec.convert(row.report, NodeReport),
    )

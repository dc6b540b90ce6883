"""What can be read of operations."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.operation import Operation, OperationError, OperationKind, OperationState
from cloudphone_shared.database import Cursors, Sorts, equal, page, versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from ..models import DeviceRow, OperationRow

LATEST = 50
_SORTS = Sorts({"createdAt": OperationRow.created_at}, tiebreak=OperationRow.id, default="-createdAt")
_SHOWN = tuple(name for name in Operation.__struct_fields__ if name != "error")


class OperationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    device_id: UUID | None
    kind: OperationKind | None
    state: OperationState | None
    batch_id: UUID | None


async def operations(
    session: AsyncSession, caller: Caller, wanted: OperationFilter, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Operation]]:
    """True for the moment, under no version."""
    statement = sa.select(OperationRow).where(
        *_own(caller),
        *equal(
            (OperationRow.device_id, wanted.device_id),
            (OperationRow.kind, wanted.kind),
            (OperationRow.state, wanted.state),
            (OperationRow.batch_id, wanted.batch_id),
        ),
    )
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"operations {wanted} for {caller.data_scope} {caller.tenant_id} {caller.id}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return Answer(data=Page(items=[shown(row) for row in found.items], next_cursor=found.next_cursor), entities={})


async def operation(session: AsyncSession, caller: Caller, operation_id: UUID) -> Answer[Operation]:
    """Also of a device that is deleted since. Raises NotFound."""
    row = await session.get(OperationRow, operation_id)
    if row is None or not caller.sees(row.tenant_id, row.owner_id):
        raise NotFound
    return Answer(data=shown(row), entities=await versions_of(session, entities.operations(row.device_id)))


async def operations_of(session: AsyncSession, caller: Caller, device_id: UUID) -> Answer[list[Operation]]:
    """The last 50, latest first. Raises NotFound."""
    device = await session.get(DeviceRow, device_id)
    if device is None or device.deleted_at is not None or not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound(entities=await versions_of(session, entities.device(device_id)))
    versions = await versions_of(session, entities.device(device_id), entities.operations(device_id))
    latest = (
        sa.select(OperationRow)
        .where(OperationRow.device_id == device_id, *_own(caller))
        .order_by(OperationRow.created_at.desc(), OperationRow.id.desc())
        .limit(LATEST)
    )
    return Answer(data=[shown(row) for row in await session.scalars(latest)], entities=versions)


def shown(row: OperationRow) -> Operation:
    values: dict[str, Any] = {name: getattr(row, name) for name in _SHOWN}
    error = None
    if row.error_code is not None:
        error = OperationError(code=row.error_code, detail=row.error_detail or "")
    return Operation(**values, error=error)


def _own(caller: Caller) -> list[ColumnElement[bool]]:
    """`Caller.sees`, for the database: a customer sees what was done while the device was his."""
    if caller.data_scope == "all":
        return []
    if caller.data_scope == "tenant":
        return [OperationRow.tenant_id == UUID(caller.tenant_id)]
    return [OperationRow.owner_id == UUID(caller.id)]

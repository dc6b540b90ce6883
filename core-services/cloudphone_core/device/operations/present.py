"""What is being done on a device, or on each of many, in one statement."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.orm import aliased

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.operation import Operation, OperationError
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, columns, many, version_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.batches import Ids, parse_ids

from ..models import Base, DeviceRow, OperationRow

_SHOWN = tuple(name for name in Operation.__struct_fields__ if name != "error")
_FAILURE = "error_code", "error_detail"


@get("/v1/devices/operations", guards=[requires("devices:read")])
async def get_present_operations(
    caller: NamedDependency[Caller], database: NamedDependency[Database], ids: Ids
) -> Answer[Many[Operation | None]]:
    return await present_operations(database, caller, parse_ids(ids))


@get("/v1/devices/{device_id:uuid}/operation", guards=[requires("devices:read")])
async def get_present_operation(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], database: NamedDependency[Database]
) -> Answer[Operation | None]:
    found = (await present_operations(database, caller, [device_id])).data
    if (answer := found.found.get(str(device_id))) is None:
        raise NotFound(entities=found.absent[str(device_id)])
    return answer


async def present_operations(
    database: Database, caller: Caller, device_ids: Sequence[UUID]
) -> Answer[Many[Operation | None]]:
    """Of each device the operation that waits or runs, the oldest of several; None: there is none."""
    found: dict[UUID, Answer[Operation | None]] = {}
    absent: dict[UUID, dict[str, int]] = {}
    for row in await database.rows(_present(), ids=device_ids):
        device_id: UUID = row["asked"]
        shown = {entities.operations(device_id): row["version"]}
        if row["device"] is None or not caller.sees(row["device_tenant_id"], row["device_owner_id"]):
            absent[device_id] = shown | {entities.device(device_id): row["device_version"]}
        else:
            found[device_id] = Answer(data=_operation(row), entities=shown)
    return many(found, absent)


@cache
def _present() -> Statement:
    oldest = (
        sa.select(OperationRow)
        .where(OperationRow.device_id == asked.c.id, OperationRow.finished_at.is_(None))
        .order_by(OperationRow.created_at, OperationRow.id)
        .limit(1)
        .lateral("oldest")
    )
    present = aliased(OperationRow, oldest)
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.operations, asked.c.id).label("version"),
            version_of(Base.metadata, entities.device, asked.c.id).label("device_version"),
            DeviceRow.id.label("device"),
            *columns(DeviceRow, ("tenant_id", "owner_id"), "device_"),
            *(getattr(present, name).label(name) for name in (*_SHOWN, *_FAILURE)),
        )
        .select_from(asked)
        .outerjoin(DeviceRow, sa.and_(DeviceRow.id == asked.c.id, DeviceRow.deleted_at.is_(None)))
        .outerjoin(oldest, sa.true())
    )


def _operation(row: Row) -> Operation | None:
    if row["id"] is None:
        return None
    values: dict[str, Any] = {name: row[name] for name in _SHOWN}
    code, detail = (row[name] for name in _FAILURE)
    return Operation(**values, error=None if code is None else OperationError(code=code, detail=detail or ""))


PRESENT_ROUTES = [get_present_operations, get_present_operation]

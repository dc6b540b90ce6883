"""What composed screens ask of users: one or a hundred at once, in one statement."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

import sqlalchemy as sa

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, columns, many, version_of
from cloudphone_shared.errors import NotFound

from .models import Base, TenantRow, UserRow

_FIELDS = tuple(name for name in User.__struct_fields__ if name not in ("tenant_name", "version"))


@cache
def _users() -> Statement:
    present = sa.and_(UserRow.id == asked.c.id, UserRow.deleted_at.is_(None))
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.user, asked.c.id).label("version"),
            version_of(Base.metadata, entities.tenant, UserRow.tenant_id).label("tenant_version"),
            TenantRow.name.label("tenant_name"),
            *columns(UserRow, _FIELDS),
        )
        .select_from(asked)
        .outerjoin(UserRow, present)
        .outerjoin(TenantRow, TenantRow.id == UserRow.tenant_id)
    )


async def user(database: Database, caller: Caller, user_id: UUID) -> Answer[User]:
    """Raises NotFound: for a user who does not exist, is deleted, or is not the caller's to see."""
    [row] = await database.rows(_users(), ids=[user_id])
    if not _is_seen(row, caller):
        raise NotFound(entities={entities.user(user_id): row["version"]})
    return _user(row)


async def users(database: Database, caller: Caller, user_ids: Sequence[UUID]) -> Answer[Many[User]]:
    rows = await database.rows(_users(), ids=user_ids)
    return many(
        {row["asked"]: _user(row) for row in rows if _is_seen(row, caller)},
        {row["asked"]: {entities.user(row["asked"]): row["version"]} for row in rows if not _is_seen(row, caller)},
    )


def _is_seen(row: Row, caller: Caller) -> bool:
    return row["id"] is not None and caller.sees(row["tenant_id"], row["id"])


def _user(row: Row) -> Answer[User]:
    contract = User(**{name: row[name] for name in _FIELDS}, tenant_name=row["tenant_name"], version=row["version"])
    shown = {
        entities.user(row["id"]): row["version"],
        entities.tenant(row["tenant_id"]): row["tenant_version"],
    }
    return Answer(data=contract, entities=shown)

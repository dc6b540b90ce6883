"""Many accounts at once, as if they had long been there: nothing is announced, every entity has its first version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cloudphone_shared import entities
from cloudphone_shared.contracts.user import DataScope, Role, UserStatus
from cloudphone_shared.database import Database, bump, copy_rows

from .models import TenantRow, UserRow
from .service import email_key


class SeedTenant(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    slug: str
    created_at: datetime


class SeedUser(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is active, inactive or suspended; `data_scope` is "self" for a customer and for nobody else.

    `password_hash` is one of `Passwords.hash`; accounts may share one. An address is unique whatever its case.
    """

    id: UUID
    tenant_id: UUID
    name: str
    email: str
    password_hash: str
    created_at: datetime
    role: Role = "customer"
    data_scope: DataScope = "self"
    status: UserStatus = "active"
    suspension_reason: str | None = None
    phone: str | None = None
    locale: str = "en"
    updated_at: datetime | None = None
    last_active_at: datetime | None = None


async def seed(database: Database, *, tenants: Sequence[SeedTenant], users: Sequence[SeedUser]) -> dict[str, int]:
    """In one transaction, into a schema that has none of them yet. Returns each entity's version."""
    async with database.writing() as session:
        await copy_rows(session, TenantRow, [msgspec.structs.asdict(tenant) for tenant in tenants])
        await copy_rows(session, UserRow, [_user(user) for user in users])
        return await bump(session, *_entities(tenants, users))


def _user(user: SeedUser) -> dict[str, Any]:
    values = msgspec.structs.asdict(user)
    return {**values, "email_key": email_key(user.email), "updated_at": user.updated_at or user.created_at}


def _entities(tenants: Sequence[SeedTenant], users: Sequence[SeedUser]) -> set[str]:
    kinds = [{entities.tenant(tenant.id), entities.users_of(tenant.id)} for tenant in tenants]
    kinds += [{entities.user(user.id), entities.sessions(user.id)} for user in users]
    return set[str]().union(*kinds)

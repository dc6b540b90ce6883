"""What is done to an installation from its command line, where nobody is signed in."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from cloudphone_shared.contracts.user import Registration, Tenant, TenantCreate, User
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Invalid

from . import queries, service
from .passwords import Passwords

T = TypeVar("T")


async def create_first_administrator(
    database: Database,
    *,
    name: str,
    email: str,
    password: str,
    tenant: str,
    tenant_name: str | None = None,
    passwords: Passwords | None = None,
) -> User:
    """An administrator of the whole platform. `tenant` is a slug; an unknown one is created, named `tenant_name`.

    Raises Conflict when the platform has an administrator, AlreadyExists when the address is taken, Invalid.
    """
    fields = {"tenant": tenant, "name": name, "email": email, "password": password}
    checked = _checked(fields, Registration)
    home = _checked({"name": tenant_name or tenant, "slug": tenant}, TenantCreate)
    hashed = await (passwords or Passwords()).hash(checked.password)
    async with database.writing() as session:
        user = await service.add_first_administrator(
            session, tenant=home, name=checked.name, email=checked.email, password_hash=hashed, at=datetime.now(UTC)
        )
        return (await queries.user_answer(session, user)).data


async def create_tenant(database: Database, *, name: str, slug: str) -> Tenant:
    """Raises AlreadyExists when the slug is taken, Invalid."""
    new = _checked({"name": name, "slug": slug}, TenantCreate)
    async with database.writing() as session:
        tenant, _ = await service.create_tenant(session, new, datetime.now(UTC))
        return queries.tenant_contract(tenant)


def _checked(fields: dict[str, str], kind: type[T]) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None

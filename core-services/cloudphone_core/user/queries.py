"""What is read of identity. Each answer names the entities it shows, with their versions of the same snapshot."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.user import Role, Tenant, User, UserStatistics, UserStatus
from cloudphone_shared.database import Cursors, Sorts, containing, equal, page, versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from .models import TenantRow, UserRow

_SORTS = Sorts(
    {
        "name": UserRow.name,
        "email": UserRow.email,
        "createdAt": UserRow.created_at,
        "lastActiveAt": UserRow.last_active_at,
    },
    tiebreak=UserRow.id,
    default="-createdAt",
)
_TENANT_SORTS = Sorts(
    {"name": TenantRow.name, "slug": TenantRow.slug, "createdAt": TenantRow.created_at},
    tiebreak=TenantRow.id,
    default="name",
)
_PRESENT = UserRow.deleted_at.is_(None)


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None asks for nothing."""

    status: UserStatus | None
    role: Role | None
    tenant_id: UUID | None


async def user_answer(session: AsyncSession, user: UserRow, touched: Mapping[str, int] | None = None) -> Answer[User]:
    """`touched`: what else the transaction changed, with the versions it gave."""
    answer = (await _answers(session, [user]))[user.id]
    return Answer(data=answer.data, entities={**(touched or {}), **answer.entities})


async def list_users(
    session: AsyncSession,
    caller: Caller,
    wanted: UserFilter,
    asked: ListQuery,
    cursors: Cursors,
) -> Answer[Page[User]]:
    """Searched by a part of the name or the e-mail address. Raises Invalid for an unknown sort, InvalidCursor."""
    listing = await page(
        session,
        _matching(caller, wanted, asked.search),
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"users {caller.id} {wanted} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    answers = await _answers(session, listing.items)
    shown = _merged(answers.values())
    if tenant_id := wanted.tenant_id or (None if caller.data_scope == "all" else caller.tenant_id):
        shown |= await versions_of(session, entities.users_of(tenant_id))
    items = [answers[user.id].data for user in listing.items]
    return Answer(data=Page(items=items, next_cursor=listing.next_cursor), entities=shown)


async def most_active_users(session: AsyncSession, caller: Caller, count: int) -> Answer[list[User]]:
    statement = (
        select(UserRow)
        .where(seen_by(caller), UserRow.status == "active", UserRow.last_active_at.is_not(None))
        .order_by(UserRow.last_active_at.desc(), UserRow.id.desc())
        .limit(count)
    )
    users = (await session.scalars(statement)).all()
    answers = await _answers(session, users)
    return Answer(data=[answers[user.id].data for user in users], entities=_merged(answers.values()))


async def user_statistics(session: AsyncSession, caller: Caller) -> Answer[UserStatistics]:
    """As of now: no entity stands for a sum over all users."""
    statement = select(UserRow.status, UserRow.role, func.count()).where(seen_by(caller))
    by_status: dict[str, int] = {}
    by_role: dict[str, int] = {}
    for status, role, count in await session.execute(statement.group_by(UserRow.status, UserRow.role)):
        by_status[status] = by_status.get(status, 0) + count
        by_role[role] = by_role.get(role, 0) + count
    total = sum(by_status.values())
    return Answer(data=UserStatistics(total=total, by_status=by_status, by_role=by_role), entities={})


async def list_tenants(
    session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors
) -> Answer[Page[Tenant]]:
    """Every tenant for who sees all, the caller's own for everybody else. Raises Invalid for an unknown sort,
    InvalidCursor.
    """
    own = None if caller.data_scope == "all" else UUID(caller.tenant_id)
    statement = select(TenantRow).where(
        *equal((TenantRow.id, own)), *containing(asked.search, TenantRow.name, TenantRow.slug)
    )
    found = await page(
        session,
        statement,
        _TENANT_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"tenants {own} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, entities.tenants(), *(entities.tenant(tenant.id) for tenant in found.items))
    items = [tenant_contract(tenant) for tenant in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def tenant_answer(session: AsyncSession, caller: Caller, tenant_id: UUID) -> Answer[Tenant]:
    """Raises NotFound, also for a tenant that is not the caller's."""
    shown = await versions_of(session, entities.tenant(tenant_id))
    tenant = await session.get(TenantRow, tenant_id)
    if tenant is None or not (caller.data_scope == "all" or caller.tenant_id == str(tenant_id)):
        raise NotFound(entities=shown)
    return Answer(data=tenant_contract(tenant), entities=shown)


def tenant_contract(tenant: TenantRow) -> Tenant:
    return msgspec.convert(tenant, Tenant, from_attributes=True)


async def not_found(session: AsyncSession, user_id: UUID) -> NotFound:
    """The refusal for a user who does not exist, is deleted, or is not the caller's to see: all alike."""
    return NotFound(entities=await versions_of(session, entities.user(user_id)))


def is_seen(caller: Caller, user: UserRow) -> bool:
    return user.deleted_at is None and caller.sees(user.tenant_id, user.id)


def seen_by(caller: Caller) -> ColumnElement[bool]:
    """The same as `is_seen`, as a condition."""
    if caller.data_scope == "all":
        return _PRESENT
    own = (
        UserRow.tenant_id == UUID(caller.tenant_id) if caller.data_scope == "tenant" else UserRow.id == UUID(caller.id)
    )
    return _PRESENT & own


def _matching(caller: Caller, wanted: UserFilter, search: str | None) -> Select[UserRow]:
    return select(UserRow).where(
        seen_by(caller),
        *equal((UserRow.status, wanted.status), (UserRow.role, wanted.role), (UserRow.tenant_id, wanted.tenant_id)),
        *containing(search, UserRow.name, UserRow.email),
    )


async def _answers(session: AsyncSession, users: Sequence[UserRow]) -> dict[UUID, Answer[User]]:
    tenant_ids = {user.tenant_id for user in users}
    tenants = await session.execute(select(TenantRow.id, TenantRow.name).where(TenantRow.id.in_(tenant_ids)))
    names = {tenant.id: tenant.name for tenant in tenants}
    shown = [entities.user(user.id) for user in users] + [entities.tenant(tenant_id) for tenant_id in tenant_ids]
    versions = await versions_of(session, *shown)
    return {user.id: _answer(user, names[user.tenant_id], versions) for user in users}


def _answer(user: UserRow, tenant_name: str, versions: Mapping[str, int]) -> Answer[User]:
    entity, tenant = entities.user(user.id), entities.tenant(user.tenant_id)
    fields = {name: getattr(user, name) for name in _FIELDS}
    contract = User(**fields, tenant_name=tenant_name, version=versions[entity])
    return Answer(data=contract, entities={entity: versions[entity], tenant: versions[tenant]})


_FIELDS = [name for name in User.__struct_fields__ if name not in ("tenant_name", "version")]


def _merged(answers: Iterable[Answer[User]]) -> dict[str, int]:
    return {entity: version for answer in answers for entity, version in answer.entities.items()}

"""How much of something a user may have, and reservations of it: use cases and reads in the caller's transaction.

Whoever gives something away reserves it first. What is held or committed counts; both end by release.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.quota import Quota, Reservation, ReservationCreate, Resource, TenantQuota
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import Conflict, Forbidden, NotFound, QuotaExceeded, StateConflict
from cloudphone_shared.events.user import QuotaChanged, QuotaRefused, TenantUpdated

from .models import QuotaRow, ReservationRow, TenantRow, UserRow
from .queries import is_seen, not_found
from .sessions import lock_user

RESOURCES: tuple[Resource, ...] = get_args(Resource)
DEFAULT_LIMITS: Mapping[Resource, int] = {"devices": 100}
"""For a user for whom neither he nor his tenant has a limit."""


class _Place(NamedTuple):
    user_id: UUID
    tenant_id: UUID
    resource: Resource


async def reserve(
    session: AsyncSession, wanted: ReservationCreate, at: datetime
) -> Answer[Reservation] | QuotaExceeded:
    """A refusal for want of quota is returned, as its announcement has to be committed.

    Raises NotFound for an unknown user, StateConflict for a released reservation or an account that is not active,
    Conflict when the id stands for something else.
    """
    # Under the user's lock reservations take turns, so that each counts all those before it.
    user = await lock_user(session, wanted.user_id)
    known = await session.get(ReservationRow, wanted.id, with_for_update=True, populate_existing=True)
    if known is not None:
        return await _stands(session, known, wanted)
    if user is None:
        raise await not_found(session, wanted.user_id)
    if user.status != "active":
        raise StateConflict(f"The account is {user.status}", current_state=user.status, allowed=["active"])
    place = _Place(user.id, user.tenant_id, wanted.resource)
    quota = await _quota(session, place)
    if quota.used + wanted.amount > quota.limit:
        return await _refused(session, quota, place, wanted.amount)
    row = await _inserted(session, wanted, user, at)
    if row is None:
        # Another request, for another user or to release it, was faster with this id.
        known = await session.get_one(ReservationRow, wanted.id, populate_existing=True)
        return await _stands(session, known, wanted)
    return await _announced(session, row)


async def commit(session: AsyncSession, reservation_id: UUID, at: datetime) -> Answer[Reservation]:
    """Raises NotFound; StateConflict for a released one."""
    row = await _locked(session, reservation_id)
    if row is None:
        raise NotFound("There is no such reservation")
    if row.state == "released":
        raise StateConflict("The reservation was released", current_state="released", allowed=[])
    if row.state == "committed":
        return await _answer(session, row)
    row.state, row.updated_at = "committed", at
    return await _announced(session, row)


async def release(session: AsyncSession, reservation_id: UUID, at: datetime) -> Answer[Reservation]:
    """One that nobody made is kept as released: a request for it that is still under way comes too late."""
    beforehand = insert(ReservationRow).values(
        id=reservation_id, amount=0, state="released", created_at=at, updated_at=at
    )
    await session.execute(beforehand.on_conflict_do_nothing(index_elements=[ReservationRow.id]))
    row = await _locked(session, reservation_id)
    assert row is not None
    if row.state == "released":
        return await _answer(session, row)
    row.state, row.updated_at = "released", at
    return await _announced(session, row)


async def quotas_answer(session: AsyncSession, caller: Caller, user_id: UUID) -> Answer[list[Quota]]:
    """Raises NotFound."""
    user = await _seen(session, caller, user_id)
    quotas = [await _quota(session, _Place(user.id, user.tenant_id, resource)) for resource in RESOURCES]
    shown = await versions_of(
        session, entities.user(user.id), entities.quotas(user.id), entities.tenant(user.tenant_id)
    )
    return Answer(data=quotas, entities=shown)


async def set_quota(
    session: AsyncSession, caller: Caller, user_id: UUID, resource: Resource, limit: int | None, at: datetime
) -> Answer[Quota]:
    """None: as the tenant or the platform has it. Raises NotFound; Forbidden for more than that, unless the caller
    sees all tenants.
    """
    user = await lock_user(session, user_id)
    if user is None or not is_seen(caller, user):
        raise await not_found(session, user_id)
    place = _Place(user.id, user.tenant_id, resource)
    most = (await _tenant_quota(session, user.tenant_id, resource)).limit
    if caller.data_scope != "all" and limit is not None and limit > most:
        raise Forbidden(f"Only who sees all tenants gives a user more than {most}", limit=most)
    await _set(session, user.id, place, limit, at)
    quota = await _quota(session, place)
    return Answer(data=quota, entities=await announce(session, _changed(quota, place), entities.quotas(user.id)))


async def tenant_quotas_answer(session: AsyncSession, caller: Caller, tenant_id: UUID) -> Answer[list[TenantQuota]]:
    """Raises NotFound, also for a tenant that is not the caller's."""
    shown = await versions_of(session, entities.tenant(tenant_id))
    if str(tenant_id) != caller.tenant_id and caller.data_scope != "all":
        raise NotFound(entities=shown)
    if await session.get(TenantRow, tenant_id) is None:
        raise NotFound(entities=shown)
    return Answer(data=[await _tenant_quota(session, tenant_id, resource) for resource in RESOURCES], entities=shown)


async def set_tenant_quota(
    session: AsyncSession, caller: Caller, tenant_id: UUID, resource: Resource, limit: int | None, at: datetime
) -> Answer[TenantQuota]:
    """Raises NotFound; Forbidden unless the caller sees all tenants."""
    await tenant_quotas_answer(session, caller, tenant_id)
    if caller.data_scope != "all":
        raise Forbidden("Only who sees all tenants sets what a tenant's users may have")
    await _set(session, tenant_id, _Place(tenant_id, tenant_id, resource), limit, at)
    quota = await _tenant_quota(session, tenant_id, resource)
    event = TenantUpdated(tenant_id=tenant_id, changed=[f"quotas.{resource}"])
    return Answer(data=quota, entities=await announce(session, event, entities.tenant(tenant_id)))


async def _seen(session: AsyncSession, caller: Caller, user_id: UUID) -> UserRow:
    user = await session.get(UserRow, user_id)
    if user is None or not is_seen(caller, user):
        raise await not_found(session, user_id)
    return user


async def _quota(session: AsyncSession, place: _Place) -> Quota:
    live = select(func.coalesce(func.sum(ReservationRow.amount), 0)).where(
        ReservationRow.user_id == place.user_id,
        ReservationRow.resource == place.resource,
        ReservationRow.state != "released",
    )
    used = int((await session.execute(live)).scalar_one())
    own = await _limit(session, place.user_id, place.resource)
    if own is not None:
        return Quota(user_id=place.user_id, resource=place.resource, limit=own, used=used, source="user")
    given = await _tenant_quota(session, place.tenant_id, place.resource)
    return Quota(user_id=place.user_id, resource=place.resource, limit=given.limit, used=used, source=given.source)


async def _tenant_quota(session: AsyncSession, tenant_id: UUID, resource: Resource) -> TenantQuota:
    own = await _limit(session, tenant_id, resource)
    limit = DEFAULT_LIMITS[resource] if own is None else own
    return TenantQuota(
        tenant_id=tenant_id, resource=resource, limit=limit, source="default" if own is None else "tenant"
    )


async def _limit(session: AsyncSession, owner_id: UUID, resource: Resource) -> int | None:
    own = select(QuotaRow.limit).where(QuotaRow.owner_id == owner_id, QuotaRow.resource == resource)
    return await session.scalar(own)


async def _set(session: AsyncSession, owner_id: UUID, place: _Place, limit: int | None, at: datetime) -> None:
    if limit is None:
        own = (QuotaRow.owner_id == owner_id, QuotaRow.resource == place.resource)
        await session.execute(delete(QuotaRow).where(*own))
        return
    row = {"tenant_id": place.tenant_id, "limit": limit, "updated_at": at}
    statement = insert(QuotaRow).values(owner_id=owner_id, resource=place.resource, **row)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[QuotaRow.owner_id, QuotaRow.resource], set_=row)
    )


async def _locked(session: AsyncSession, reservation_id: UUID) -> ReservationRow | None:
    """After its user, as in `reserve`: so that nobody waits in a circle, and what is announced counts all before it."""
    user_id = await session.scalar(select(ReservationRow.user_id).where(ReservationRow.id == reservation_id))
    if user_id is not None:
        await lock_user(session, user_id)
    return await session.get(ReservationRow, reservation_id, with_for_update=True)


async def _inserted(
    session: AsyncSession, wanted: ReservationCreate, user: UserRow, at: datetime
) -> ReservationRow | None:
    """None when the id is taken meanwhile."""
    values: dict[str, Any] = {
        **msgspec.structs.asdict(wanted), "tenant_id": user.tenant_id, "state": "held", "created_at": at,
        "updated_at": at,
    }  # fmt: skip
    statement = insert(ReservationRow).values(values).on_conflict_do_nothing(index_elements=[ReservationRow.id])
    return await session.scalar(statement.returning(ReservationRow))


async def _stands(session: AsyncSession, row: ReservationRow, wanted: ReservationCreate) -> Answer[Reservation]:
    if row.state == "released":
        raise StateConflict("The reservation was released", current_state="released", allowed=[])
    if (row.user_id, row.resource, row.amount) != (wanted.user_id, wanted.resource, wanted.amount):
        raise Conflict("The id stands for another reservation")
    return await _answer(session, row)


async def _refused(session: AsyncSession, quota: Quota, place: _Place, wanted: int) -> QuotaExceeded:
    await announce(
        session,
        QuotaRefused(
            user_id=place.user_id,
            resource=place.resource,
            limit=quota.limit,
            used=quota.used,
            wanted=wanted,
            tenant_id=place.tenant_id,
        ),
    )
    return QuotaExceeded(
        f"{quota.used} of {quota.limit} {place.resource} are taken",
        resource=place.resource,
        limit=quota.limit,
        used=quota.used,
    )


async def _announced(session: AsyncSession, row: ReservationRow) -> Answer[Reservation]:
    """Of one that is somebody's."""
    assert row.user_id and row.tenant_id and row.resource
    await session.flush()
    place = _Place(row.user_id, row.tenant_id, row.resource)
    event = _changed(await _quota(session, place), place)
    return Answer(data=_contract(row), entities=await announce(session, event, entities.quotas(row.user_id)))


def _changed(quota: Quota, place: _Place) -> QuotaChanged:
    return QuotaChanged(
        user_id=place.user_id, resource=place.resource, limit=quota.limit, used=quota.used, tenant_id=place.tenant_id
    )


async def _answer(session: AsyncSession, row: ReservationRow) -> Answer[Reservation]:
    shown = await versions_of(session, entities.quotas(row.user_id)) if row.user_id else {}
    return Answer(data=_contract(row), entities=shown)


def _contract(row: ReservationRow) -> Reservation:
    return msgspec.convert(row, Reservation, from_attributes=True)

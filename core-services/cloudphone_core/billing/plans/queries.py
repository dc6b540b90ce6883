"""What billing answers about plans and coupons. Each function wants a session of `reading()`, or the writing one that
holds the row's lock."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import Plan, PlanRevision
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.purchase import Coupon, CouponCheck
from cloudphone_shared.database.pagination import Cursors, Sorts, containing, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import Conflict, NotFound
from cloudphone_shared.http.lists import ListQuery

from .coupons import usable
from .models import CouponRow, PlanRow, PlanVersionRow
from .pricing import price

_PLAN_SORTS = Sorts(
    {"name": PlanRow.name, "price": PlanRow.price, "active": PlanRow.active, "createdAt": PlanRow.created_at},
    tiebreak=PlanRow.id,
    default="-active,name",
)
_COUPON_SORTS = Sorts(
    {"code": CouponRow.code, "createdAt": CouponRow.created_at, "active": CouponRow.active},
    tiebreak=CouponRow.id,
    default="-createdAt",
)


async def plan_page(
    session: AsyncSession, caller: Caller, asked: ListQuery, cursors: Cursors, *, active: bool | None
) -> Answer[Page[Plan]]:
    """Customers are shown what is offered; who serves or sells sees all. Raises Invalid for an unknown sort,
    InvalidCursor.
    """
    offered = True if caller.data_scope == "self" else None
    statement = select(PlanRow).where(
        *equal((PlanRow.active, offered), (PlanRow.active, active)), *containing(asked.search, PlanRow.name)
    )
    found = await page(
        session,
        statement,
        _PLAN_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"plans {offered} {active} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, entities.plans(), *(entities.plan(row.id) for row in found.items))
    items = [_plan(row, shown) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def plan(session: AsyncSession, plan_id: UUID) -> Answer[Plan]:
    row = await session.get(PlanRow, plan_id)
    shown = await versions_of(session, entities.plan(plan_id))
    if row is None:
        raise NotFound(entities=shown)
    return Answer(data=_plan(row, shown), entities=shown)


async def revisions(session: AsyncSession, plan_id: UUID) -> Answer[list[PlanRevision]]:
    """Newest first. Raises NotFound."""
    shown = await versions_of(session, entities.plan(plan_id))
    asked = select(PlanVersionRow).where(PlanVersionRow.plan_id == plan_id).order_by(PlanVersionRow.revision.desc())
    found = (await session.scalars(asked)).all()
    if not found:
        raise NotFound(entities=shown)
    return Answer(data=[msgspec.convert(row, PlanRevision, from_attributes=True) for row in found], entities=shown)


async def coupon_page(
    session: AsyncSession, asked: ListQuery, cursors: Cursors, *, active: bool | None, plan_id: UUID | None
) -> Answer[Page[Coupon]]:
    statement = select(CouponRow).where(
        *equal((CouponRow.active, active), (CouponRow.plan_id, plan_id)), *containing(asked.search, CouponRow.code)
    )
    found = await page(
        session,
        statement,
        _COUPON_SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"coupons {active} {plan_id} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown = await versions_of(session, entities.coupons(), *(entities.coupon(row.id) for row in found.items))
    items = [_coupon(row, shown) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown)


async def coupon(session: AsyncSession, coupon_id: UUID) -> Answer[Coupon]:
    row = await session.get(CouponRow, coupon_id)
    shown = await versions_of(session, entities.coupon(coupon_id))
    if row is None:
        raise NotFound(entities=shown)
    return Answer(data=_coupon(row, shown), entities=shown)


async def check(session: AsyncSession, code: str, plan_id: UUID, user_id: UUID, at: datetime) -> Answer[CouponCheck]:
    """What the plan would cost this user now. Raises NotFound for an unknown plan, Conflict for a coupon that is not
    valid."""
    row = await session.get(PlanRow, plan_id)
    shown = await versions_of(session, entities.plan(plan_id))
    if row is None:
        raise NotFound("There is no such plan", entities=shown)
    if not row.active:
        raise Conflict("The plan is no longer offered")
    version = await session.get_one(PlanVersionRow, (plan_id, row.revision))
    told = price(version.price, version.currency, await usable(session, code, version, user_id, at))
    data = CouponCheck(
        code=code,
        plan_id=plan_id,
        plan_revision=version.revision,
        list_price=told.list_price,
        discount=told.discount,
        amount=told.amount,
        currency=told.currency,
    )
    return Answer(data=data, entities=shown)


def _plan(row: PlanRow, versions: dict[str, int]) -> Plan:
    told = {name: getattr(row, name) for name in Plan.__struct_fields__ if name != "version"}
    return Plan(**told, version=versions[entities.plan(row.id)])


def _coupon(row: CouponRow, versions: dict[str, int]) -> Coupon:
    told = {name: getattr(row, name) for name in Coupon.__struct_fields__ if name != "version"}
    return Coupon(**told, version=versions[entities.coupon(row.id)])

"""Coupons: what they take off, and how often. In the caller's transaction.

A use is counted under the coupon's row lock before the order is paid, so that of two purchases with one use left one
is refused; it is given back when the purchase comes to nothing, and stays used when it is refunded later.
"""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.purchase import CouponCreate, CouponPatch
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import AlreadyExists, Conflict, Invalid, NotFound
from cloudphone_shared.events.billing import CouponChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import CouponRow, CouponUseRow, PlanRow, PlanVersionRow
from .service import sees_all_tenants


async def create_coupon(
    session: AsyncSession, caller: Caller, new: CouponCreate, at: datetime
) -> tuple[UUID, dict[str, int]]:
    """Raises AlreadyExists for a code that is taken, Invalid unless it takes exactly one thing off."""
    sees_all_tenants(caller)
    _check(new, at)
    if new.plan_id is not None and await session.get(PlanRow, new.plan_id) is None:
        raise NotFound("There is no such plan")
    coupon = CouponRow(
        id=uuid7(),
        code=new.code,
        percent=new.percent,
        amount=new.amount,
        currency=new.currency,
        plan_id=new.plan_id,
        valid_from=new.valid_from or at,
        valid_until=new.valid_until,
        most_uses=new.most_uses,
        uses_per_user=new.uses_per_user,
        uses=0,
        active=True,
        created_at=at,
    )
    # Codes are given seldom: one after another, so that the second of two alike is told so.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("billing coupon codes", 0))))
    if await _by_code(session, new.code) is not None:
        raise AlreadyExists("A coupon with this code exists already")
    session.add(coupon)
    event = CouponChanged(coupon_id=coupon.id, changed=["created"])
    return coupon.id, await announce(session, event, entities.coupon(coupon.id), entities.coupons())


async def change_coupon(
    session: AsyncSession, caller: Caller, coupon_id: UUID, patch: CouponPatch, *, expected: int | None
) -> None:
    sees_all_tenants(caller)
    coupon = await session.get(CouponRow, coupon_id, with_for_update=True)
    versions = await versions_of(session, entities.coupon(coupon_id))
    if coupon is None:
        raise NotFound(entities=versions)
    check_version(expected, versions[entities.coupon(coupon_id)])
    wanted = {"active": patch.active, "valid_until": patch.valid_until}
    changed = [field for field, value in wanted.items() if value is not UNSET and value != getattr(coupon, field)]
    for field in changed:
        setattr(coupon, field, wanted[field])
    if changed:
        event = CouponChanged(coupon_id=coupon_id, changed=changed)
        await announce(session, event, entities.coupon(coupon_id), entities.coupons())


async def usable(
    session: AsyncSession, code: str, version: PlanVersionRow, user_id: UUID, at: datetime, *, lock: bool = False
) -> CouponRow:
    """The coupon, if this user may use it for this plan now. Raises Conflict with the reason; a code that does not
    exist is refused like one that is no longer valid, so that codes cannot be guessed one by one."""
    coupon = await _by_code(session, code, lock=lock)
    if coupon is None or not coupon.active or at < coupon.valid_from:
        raise Conflict("The coupon is not valid", coupon=code)
    if coupon.valid_until is not None and at >= coupon.valid_until:
        raise Conflict("The coupon is not valid", coupon=code)
    if coupon.plan_id is not None and coupon.plan_id != version.plan_id:
        raise Conflict("The coupon is for another plan", coupon=code)
    if coupon.currency is not None and coupon.currency != version.currency:
        raise Conflict("The coupon is for another currency", coupon=code)
    if coupon.most_uses is not None and coupon.uses >= coupon.most_uses:
        raise Conflict("The coupon is used up", coupon=code)
    mine = select(func.count()).where(
        CouponUseRow.coupon_id == coupon.id, CouponUseRow.user_id == user_id, CouponUseRow.state != "released"
    )
    if (await session.scalar(mine) or 0) >= coupon.uses_per_user:
        raise Conflict("The coupon was used as often as one user may", coupon=code)
    return coupon


async def hold(
    session: AsyncSession, code: str, version: PlanVersionRow, user_id: UUID, order_id: UUID, at: datetime
) -> CouponRow:
    """Counts a use for the order. Raises Conflict."""
    coupon = await usable(session, code, version, user_id, at, lock=True)
    coupon.uses += 1
    session.add(CouponUseRow(order_id=order_id, coupon_id=coupon.id, user_id=user_id, state="held", at=at))
    await announce(session, CouponChanged(coupon_id=coupon.id, changed=["uses"]), entities.coupon(coupon.id))
    return coupon


async def use(session: AsyncSession, order_id: UUID, at: datetime) -> None:
    """For good: the order is completed."""
    if (held := await _held(session, order_id)) is not None:
        held.state, held.at = "used", at


async def release(session: AsyncSession, order_id: UUID, at: datetime) -> None:
    """The order came to nothing: its use, if it held one, may be another's."""
    if (held := await _held(session, order_id)) is None:
        return
    coupon = await session.get_one(CouponRow, held.coupon_id, with_for_update=True, populate_existing=True)
    held.state, held.at = "released", at
    coupon.uses -= 1
    await announce(session, CouponChanged(coupon_id=coupon.id, changed=["uses"]), entities.coupon(coupon.id))


async def _held(session: AsyncSession, order_id: UUID) -> CouponUseRow | None:
    found = await session.get(CouponUseRow, order_id, with_for_update=True, populate_existing=True)
    return found if found is not None and found.state == "held" else None


async def _by_code(session: AsyncSession, code: str, *, lock: bool = False) -> CouponRow | None:
    asked = select(CouponRow).where(CouponRow.code == code)
    if lock:
        asked = asked.with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(asked)).one_or_none()


def _check(new: CouponCreate, at: datetime) -> None:
    if (new.percent is None) == (new.amount is None):
        raise Invalid("A coupon takes either a percentage or an amount off")
    if (new.amount is None) != (new.currency is None):
        raise Invalid("An amount, and only that, has a currency")
    if new.valid_until is not None and new.valid_until <= (new.valid_from or at):
        raise Invalid("The coupon would never be valid")

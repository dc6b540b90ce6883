"""What billing does with plans: one function per use case, in the caller's transaction."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import PlanCreate, PlanPatch, PlanRevise
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import Conflict, Forbidden, NotFound
from cloudphone_shared.events.billing import PlanChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from ..rating.rules import check_usable
from .models import CouponRow, PlanRow, PlanVersionRow

TERMS = "price", "period_days", "included_hours", "template_id", "rule_id", "grace_days"
"""What a version fixes, beside the currency that all versions of a plan share."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as it is sold now: its name and its newest version."""

    name: str
    version: PlanVersionRow


async def create_plan(
    session: AsyncSession, caller: Caller, new: PlanCreate, at: datetime
) -> tuple[UUID, dict[str, int]]:
    """Raises Invalid for a rule that is not in use, or in another currency."""
    sees_all_tenants(caller)
    if new.rule_id is not None:
        await check_usable(session, new.rule_id, new.currency)
    terms = {name: getattr(new, name) for name in TERMS}
    plan = PlanRow(id=uuid7(), name=new.name, currency=new.currency, active=True, created_at=at, revision=1, **terms)
    session.add(plan)
    await session.flush()
    session.add(PlanVersionRow(plan_id=plan.id, revision=1, currency=new.currency, created_at=at, **terms))
    event = PlanChanged(plan_id=plan.id, changed=["created"])
    return plan.id, await announce(session, event, entities.plan(plan.id), entities.plans())


async def revise_plan(
    session: AsyncSession, caller: Caller, plan_id: UUID, revise: PlanRevise, *, expected: int | None, at: datetime
) -> int:
    """The plan's present revision. One that changes nothing makes no version. Raises Invalid as `create_plan` does."""
    plan = await _plan_to_change(session, caller, plan_id, expected)
    terms = {name: getattr(plan, name) for name in TERMS}
    wanted = {name: value for name in TERMS if (value := getattr(revise, name)) is not UNSET}
    changed = sorted(name for name, value in wanted.items() if value != terms[name])
    if not changed:
        return plan.revision
    if "rule_id" in changed and wanted["rule_id"] is not None:
        await check_usable(session, wanted["rule_id"], plan.currency)
    revision = plan.revision + 1
    session.add(
        PlanVersionRow(plan_id=plan_id, revision=revision, currency=plan.currency, created_at=at, **{**terms, **wanted})
    )
    event = PlanChanged(plan_id=plan_id, changed=["revision", *changed])
    await announce(session, event, entities.plan(plan_id), entities.plans())
    await session.refresh(plan)
    return revision


async def change_plan(
    session: AsyncSession, caller: Caller, plan_id: UUID, patch: PlanPatch, *, expected: int | None
) -> None:
    plan = await _plan_to_change(session, caller, plan_id, expected)
    wanted = {"name": patch.name, "active": patch.active}
    changed = [field for field, value in wanted.items() if value is not UNSET and value != getattr(plan, field)]
    for field in changed:
        setattr(plan, field, wanted[field])
    if changed:
        await announce(session, PlanChanged(plan_id=plan_id, changed=changed), entities.plan(plan_id), entities.plans())


async def delete_plan(session: AsyncSession, caller: Caller, plan_id: UUID, *, expected: int | None) -> dict[str, int]:
    """Raises Conflict once the plan has been ordered, or a coupon is for it alone."""
    plan = await _plan_to_change(session, caller, plan_id, expected)
    if await session.scalar(select(exists().where(CouponRow.plan_id == plan_id))):
        raise Conflict("A coupon is for this plan alone: it can be deactivated, not deleted")
    try:
        async with session.begin_nested():
            await session.execute(delete(PlanVersionRow).where(PlanVersionRow.plan_id == plan_id))
            await session.delete(plan)
    except IntegrityError:
        raise Conflict("The plan has been ordered: it can be deactivated, not deleted") from None
    gone = entities.plan(plan_id)
    return await announce(
        session, PlanChanged(plan_id=plan_id, changed=["deleted"]), gone, entities.plans(), deleted=[gone]
    )


async def offered(session: AsyncSession, plan_id: UUID) -> Offer:
    """Stands until the transaction ends. Raises NotFound for an unknown plan, Conflict for one that is withdrawn."""
    plan = await session.get(PlanRow, plan_id, with_for_update={"read": True}, populate_existing=True)
    if plan is None:
        raise NotFound("There is no such plan", entities=await versions_of(session, entities.plan(plan_id)))
    if not plan.active:
        raise Conflict("The plan is no longer offered")
    return Offer(name=plan.name, version=await version_of(session, plan_id, plan.revision))


async def kept(session: AsyncSession, plan_id: UUID) -> Offer:
    """As `offered`, also of a plan that is withdrawn: who has it keeps it."""
    plan = await session.get_one(PlanRow, plan_id, with_for_update={"read": True}, populate_existing=True)
    return Offer(name=plan.name, version=await version_of(session, plan_id, plan.revision))


async def version_of(session: AsyncSession, plan_id: UUID, revision: int) -> PlanVersionRow:
    return await session.get_one(PlanVersionRow, (plan_id, revision))


def sees_all_tenants(caller: Caller) -> None:
    if caller.data_scope != "all":
        raise Forbidden("Plans are sold to all tenants: only who sees them all may change them")


async def _plan_to_change(session: AsyncSession, caller: Caller, plan_id: UUID, expected: int | None) -> PlanRow:
    sees_all_tenants(caller)
    plan = await session.get(PlanRow, plan_id, with_for_update=True)
    versions = await versions_of(session, entities.plan(plan_id))
    if plan is None:
        raise NotFound(entities=versions)
    check_version(expected, versions[entities.plan(plan_id)])
    return plan

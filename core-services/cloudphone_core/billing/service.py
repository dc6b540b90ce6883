"""What billing does with plans, orders and balances: one function per use case, in the caller's transaction."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import ColumnElement, ScalarSelect, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import BalanceSet, OrderState, PlanCreate, PlanPatch
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database.outbox import announce
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import Conflict, Forbidden, NotFound, StateConflict
from cloudphone_shared.events.billing import (
    BalanceChanged,
    OrderCreated,
    OrderDeviceBound,
    OrderStateChanged,
    PlanChanged,
)
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from . import allocation
from .models import BalanceRow, CopyRow, OrderEventRow, OrderRow, PlanRow
from .states import STEPS, check_step

UNBOUND: frozenset[OrderState] = frozenset({"pending", "provisioning"})
"""The states in which an order's device can still be named."""


async def create_plan(
    session: AsyncSession, caller: Caller, new: PlanCreate, at: datetime
) -> tuple[UUID, dict[str, int]]:
    _sees_all_tenants(caller)
    plan = PlanRow(
        id=uuid7(),
        name=new.name,
        price=new.price,
        currency=new.currency,
        period_days=new.period_days,
        included_hours=new.included_hours,
        active=True,
        created_at=at,
    )
    session.add(plan)
    event = PlanChanged(plan_id=plan.id, changed=["created"])
    return plan.id, await announce(session, event, entities.plan(plan.id), entities.plans())


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
    """Raises Conflict once the plan has been ordered."""
    plan = await _plan_to_change(session, caller, plan_id, expected)
    if await session.scalar(select(exists().where(OrderRow.plan_id == plan_id))):
        raise Conflict("The plan has been ordered: it can be deactivated, not deleted")
    await session.delete(plan)
    gone = entities.plan(plan_id)
    return await announce(
        session, PlanChanged(plan_id=plan_id, changed=["deleted"]), gone, entities.plans(), deleted=[gone]
    )


async def create_order(
    session: AsyncSession, plan_id: UUID, user: User, device: Device | None, *, actor: str, at: datetime
) -> tuple[UUID, dict[str, int]]:
    """At the plan's price. Raises NotFound for an unknown plan, Conflict for one that is no longer offered."""
    plan = await _offered(session, plan_id)
    person = await _newest(session, entities.user(user.id), user.version, user.name, user.email)
    order = OrderRow(
        id=uuid7(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        user_name=person.name,
        user_email=person.email,
        user_version=person.version,
        device_version=0,
        plan_id=plan_id,
        amount=plan.price,
        currency=plan.currency,
        state="pending",
        created_at=at,
        updated_at=at,
    )
    if device is not None:
        _bind(order, device.id, await _newest_device(session, device))
    session.add(order)
    await session.flush()
    _note(session, order, "ordered", actor, number=1, device_id=order.device_id)
    event = OrderCreated(
        order_id=order.id,
        user_id=user.id,
        amount=order.amount,
        currency=order.currency,
        tenant_id=order.tenant_id,
    )
    return order.id, await announce(session, event, entities.order(order.id), entities.orders_of(user.id))


async def cancel_order(
    session: AsyncSession, caller: Caller, order_id: UUID, reason: str, *, expected: int | None, at: datetime
) -> None:
    """Raises StateConflict unless the order is pending: what is further on is compensated or refunded."""
    order = await _order_to_change(session, caller, order_id, expected)
    if order.state != "pending":
        raise StateConflict(
            f"An order that is {order.state} cannot be cancelled",
            current_state=order.state,
            allowed=[state for state in STEPS[order.state] if state != "cancelled"],
        )
    await _step(session, order, "cancelled", reason, actor=caller.id, at=at)


async def take_step(
    session: AsyncSession,
    caller: Caller,
    order_id: UUID,
    state: OrderState,
    reason: str,
    device: Device | None,
    *,
    expected: int | None,
    at: datetime,
) -> None:
    """An administrator's step. Raises StateConflict for one that the table does not have."""
    # The copy is locked before the order, as it is when the device's owner announces a new name.
    copy = await _newest_device(session, device) if device else None
    order = await _order_to_change(session, caller, order_id, expected)
    check_step(order.state, state)
    if device is not None and copy is not None:
        if device.tenant_id != order.tenant_id:
            raise NotFound("There is no such device", entities={entities.device(device.id): device.version})
        if order.state not in UNBOUND:
            raise Conflict(f"An order that is {order.state} keeps its device")
        _bind(order, device.id, copy)
    await _step(session, order, state, reason or "by hand", actor=caller.id, at=at, device_id=device and device.id)


async def bind_device(
    session: AsyncSession, order: OrderRow, device_id: UUID, copy: CopyRow | None, *, actor: str, at: datetime
) -> None:
    """To an order that waits for one. Without a copy the name follows when the device's owner announces it."""
    if copy is None:
        order.device_id, order.device_name, order.device_version = device_id, None, 0
    else:
        _bind(order, device_id, copy)
    order.updated_at = at
    await _append(session, order, "device allocated", actor, device_id=device_id)
    event = OrderDeviceBound(order_id=order.id, user_id=order.user_id, device_id=device_id, tenant_id=order.tenant_id)
    await announce(session, event, entities.order(order.id))


async def fail_order(session: AsyncSession, order: OrderRow, reason: str, *, actor: str, at: datetime) -> None:
    await _step(session, order, "compensating", reason, actor=actor, at=at)
    await _step(session, order, "failed", reason, actor=actor, at=at)


async def set_balance(session: AsyncSession, user: User, figures: BalanceSet, at: datetime) -> None:
    values = {"currency": figures.currency, "available": figures.available, "held": figures.held, "updated_at": at}
    await session.execute(
        insert(BalanceRow)
        .values(user_id=user.id, tenant_id=user.tenant_id, **values)
        .on_conflict_do_update(index_elements=[BalanceRow.user_id], set_=values)
    )
    event = BalanceChanged(
        user_id=user.id,
        currency=figures.currency,
        available=figures.available,
        held=figures.held,
        tenant_id=user.tenant_id,
    )
    await announce(session, event, entities.balance(user.id))


async def copy_user(session: AsyncSession, user_id: UUID, version: int, name: str, email: str) -> None:
    """The user's name and address on all orders, unless a later announcement was heard before."""
    copy = await _newest(session, entities.user(user_id), version, name, email)
    if copy.version == version:
        older = _locked(OrderRow.user_id == user_id, OrderRow.user_version < version)
        values = {"user_name": name, "user_email": email, "user_version": version}
        await session.execute(update(OrderRow).where(OrderRow.id.in_(older)).values(values))


async def copy_device(session: AsyncSession, device_id: UUID, version: int, name: str) -> None:
    """The device's name on all orders, unless a later announcement was heard before."""
    copy = await _newest(session, entities.device(device_id), version, name, None)
    if copy.version == version:
        older = _locked(OrderRow.device_id == device_id, OrderRow.device_version < version)
        values = {"device_name": name, "device_version": version}
        await session.execute(update(OrderRow).where(OrderRow.id.in_(older)).values(values))


def _sees_all_tenants(caller: Caller) -> None:
    if caller.data_scope != "all":
        raise Forbidden("Plans are sold to all tenants: only who sees them all may change them")


async def _plan_to_change(session: AsyncSession, caller: Caller, plan_id: UUID, expected: int | None) -> PlanRow:
    _sees_all_tenants(caller)
    plan = await session.get(PlanRow, plan_id, with_for_update=True)
    versions = await versions_of(session, entities.plan(plan_id))
    if plan is None:
        raise NotFound(entities=versions)
    check_version(expected, versions[entities.plan(plan_id)])
    return plan


async def _offered(session: AsyncSession, plan_id: UUID) -> PlanRow:
    plan = await session.get(PlanRow, plan_id, with_for_update={"read": True})
    if plan is None:
        raise NotFound("There is no such plan", entities=await versions_of(session, entities.plan(plan_id)))
    if not plan.active:
        raise Conflict("The plan is no longer offered")
    return plan


async def _order_to_change(session: AsyncSession, caller: Caller, order_id: UUID, expected: int | None) -> OrderRow:
    order = await session.get(OrderRow, order_id, with_for_update=True)
    versions = await versions_of(session, entities.order(order_id))
    if order is None or not caller.sees(order.tenant_id, order.user_id):
        raise NotFound(entities=versions)
    check_version(expected, versions[entities.order(order_id)])
    return order


async def _step(
    session: AsyncSession,
    order: OrderRow,
    state: OrderState,
    reason: str,
    *,
    actor: str,
    at: datetime,
    device_id: UUID | None = None,
) -> None:
    check_step(order.state, state)
    before, order.state, order.updated_at = order.state, state, at
    await _append(session, order, reason, actor, device_id=device_id)
    event = OrderStateChanged(
        order_id=order.id,
        user_id=order.user_id,
        old_state=before,
        new_state=state,
        reason=reason,
        tenant_id=order.tenant_id,
    )
    await announce(session, event, entities.order(order.id))
    await allocation.follow(session, order, at)


async def _append(session: AsyncSession, order: OrderRow, reason: str, actor: str, *, device_id: UUID | None) -> None:
    last = await session.scalar(select(func.max(OrderEventRow.number)).where(OrderEventRow.order_id == order.id))
    _note(session, order, reason, actor, number=(last or 0) + 1, device_id=device_id)


def _note(
    session: AsyncSession, order: OrderRow, reason: str, actor: str, *, number: int, device_id: UUID | None = None
) -> None:
    session.add(
        OrderEventRow(
            order_id=order.id,
            number=number,
            state=order.state,
            device_id=device_id,
            reason=reason,
            actor=actor,
            at=order.updated_at,
        )
    )


def _bind(order: OrderRow, device_id: UUID, copy: CopyRow) -> None:
    order.device_id, order.device_name, order.device_version = device_id, copy.name, copy.version


async def _newest_device(session: AsyncSession, device: Device) -> CopyRow:
    return await _newest(session, entities.device(device.id), device.version, device.name, None)


async def _newest(session: AsyncSession, entity: str, version: int, name: str, email: str | None) -> CopyRow:
    """The later of what is given and what was heard before; its row stays locked, so that an announcement and an
    order made meanwhile come one after the other."""
    given = insert(CopyRow).values(entity=entity, version=version, name=name, email=email)
    later = given.on_conflict_do_update(
        index_elements=[CopyRow.entity],
        set_={"version": given.excluded.version, "name": given.excluded.name, "email": given.excluded.email},
        where=CopyRow.version < given.excluded.version,
    )
    await session.execute(later)
    return (await session.execute(select(CopyRow).where(CopyRow.entity == entity))).scalar_one()


def _locked(*conditions: ColumnElement[bool]) -> ScalarSelect[UUID]:
    return select(OrderRow.id).where(*conditions).order_by(OrderRow.id).with_for_update().scalar_subquery()

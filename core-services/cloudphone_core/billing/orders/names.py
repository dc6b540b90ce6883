"""The names on orders: copies that follow what their owners announce. In the caller's transaction."""

from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.device import Device

from ..models import CopyRow
from .models import OrderRow


async def copy_user(session: AsyncSession, user_id: UUID, version: int, name: str, email: str) -> None:
    """The user's name and address on all orders, unless a later announcement was heard before."""
    copy = await newest(session, entities.user(user_id), version, name, email)
    if copy.version == version:
        older = _locked(OrderRow.user_id == user_id, OrderRow.user_version < version)
        values = {"user_name": name, "user_email": email, "user_version": version}
        await session.execute(update(OrderRow).where(OrderRow.id.in_(older)).values(values))


async def copy_device(session: AsyncSession, device_id: UUID, version: int, name: str) -> None:
    """The device's name on all orders, unless a later announcement was heard before."""
    copy = await newest(session, entities.device(device_id), version, name, None)
    if copy.version == version:
        older = _locked(OrderRow.device_id == device_id, OrderRow.device_version < version)
        values = {"device_name": name, "device_version": version}
        await session.execute(update(OrderRow).where(OrderRow.id.in_(older)).values(values))


async def newest_device(session: AsyncSession, device: Device) -> CopyRow:
    return await newest(session, entities.device(device.id), device.version, device.name, None)


async def newest(session: AsyncSession, entity: str, version: int, name: str, email: str | None) -> CopyRow:
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


async def known(session: AsyncSession, order: OrderRow) -> tuple[CopyRow, CopyRow | None]:
    """The user's copy and the device's, locked: what is placed on behalf of the order is named by them."""
    person = await _heard(session, entities.user(order.user_id))
    phone = await _heard(session, entities.device(order.device_id)) if order.device_id else None
    if person is None:
        told = order.user_name or "", order.user_email
        person = await newest(session, entities.user(order.user_id), order.user_version, *told)
    return person, phone


async def _heard(session: AsyncSession, entity: str) -> CopyRow | None:
    asked = select(CopyRow).where(CopyRow.entity == entity).with_for_update()
    return (await session.scalars(asked.execution_options(populate_existing=True))).one_or_none()


def name_device(order: OrderRow, copy: CopyRow | None) -> None:
    """Without a copy the name follows when the device's owner announces it."""
    order.device_name, order.device_version = (copy.name, copy.version) if copy else (None, 0)


def _locked(*conditions: ColumnElement[bool]) -> ScalarSelect[UUID]:
    return select(OrderRow.id).where(*conditions).order_by(OrderRow.id).with_for_update().scalar_subquery()

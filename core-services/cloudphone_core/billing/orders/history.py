"""An order's facts, as they are kept: appended, read, and folded again from the first."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.database import Database

from ..models import CopyRow
from . import facts
from .fold import Folded, Happened, fold, step
from .models import OrderEventRow, OrderRow

AT_ONCE = 500


async def append(
    session: AsyncSession, order: OrderRow, fact: facts.Fact, reason: str, actor: str, at: datetime
) -> None:
    """The order's row, new or locked, becomes what its facts say. Raises StateConflict for a step that is not in its
    table."""
    first = isinstance(fact, facts.Placed)
    _become(order, msgspec.structs.asdict(step(None if first else folded(order), fact, at)))
    if first:
        session.add(order)
        await session.flush()
    session.add(
        OrderEventRow(
            order_id=order.id,
            number=order.last_number,
            type=fact.type,
            version=fact.version,
            data=facts.written(fact),
            state=order.state,
            reason=reason,
            actor=actor,
            at=at,
        )
    )


def folded(order: OrderRow) -> Folded:
    return Folded(**{name: getattr(order, name) for name in Folded.__struct_fields__})


def happened(row: OrderEventRow) -> Happened:
    return Happened(facts.read(row.type, row.version, row.data), row.at)


async def events_of(session: AsyncSession, order_id: UUID) -> Sequence[OrderEventRow]:
    asked = select(OrderEventRow).where(OrderEventRow.order_id == order_id).order_by(OrderEventRow.number)
    return (await session.scalars(asked)).all()


async def rebuild(database: Database) -> int:
    """Folds every order again from its first fact, and names it by the copies. How many rows were otherwise.

    A batch of orders a transaction, each locked while it is folded: orders may go on meanwhile.
    """
    otherwise, after = 0, UUID(int=0)
    while True:
        async with database.writing() as session:
            batch = select(OrderRow).where(OrderRow.id > after).order_by(OrderRow.id).limit(AT_ONCE).with_for_update()
            orders = (await session.scalars(batch)).all()
            for order in orders:
                otherwise += await _rebuilt(session, order)
        if not orders:
            return otherwise
        after = orders[-1].id


async def _rebuilt(session: AsyncSession, order: OrderRow) -> bool:
    now = fold(happened(event) for event in await events_of(session, order.id))
    person = await session.get(CopyRow, entities.user(now.user_id))
    phone = await session.get(CopyRow, entities.device(now.device_id)) if now.device_id else None
    names: dict[str, object] = {
        "device_name": phone.name if phone else None,
        "device_version": phone.version if phone else 0,
    }
    if person is not None:
        names |= {"user_name": person.name, "user_email": person.email, "user_version": person.version}
    return _become(order, {**msgspec.structs.asdict(now), **names})


def _become(order: OrderRow, values: Mapping[str, object]) -> bool:
    """Whether it was otherwise."""
    otherwise = [name for name, value in values.items() if getattr(order, name) != value]
    for name in otherwise:
        setattr(order, name, values[name])
    return bool(otherwise)

"""What composed screens ask about orders: for one user or for a hundred at once, each read one statement."""

from collections.abc import Iterable, Sequence
from functools import cache
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.billing import OrderSummary
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, many, row_of_each, version_of

from ..models import Base
from .models import OrderRow

LATEST_ORDERS = 50
_ORDER = tuple(name for name in OrderSummary.__struct_fields__ if name != "version")


@cache
def _orders() -> Statement:
    return row_of_each(OrderRow, _ORDER, entities.order, OrderRow.id == asked.c.id)


@cache
def _latest_orders() -> Statement:
    latest = (
        sa.select(OrderRow)
        .where(OrderRow.user_id == asked.c.id)
        .order_by(OrderRow.created_at.desc(), OrderRow.id.desc())
        .limit(sa.literal_column(str(LATEST_ORDERS)))
        .lateral("latest")
    )
    order = aliased(OrderRow, latest)
    return Statement(
        sa.select(
            asked.c.id.label("asked"),
            version_of(Base.metadata, entities.orders_of, asked.c.id).label("list_version"),
            version_of(Base.metadata, entities.order, order.id).label("version"),
            *(getattr(order, name).label(name) for name in _ORDER),
        )
        .select_from(asked)
        .outerjoin(latest, sa.true())
        .order_by(asked.c.id, order.created_at.desc(), order.id.desc())
    )


async def orders(database: Database, caller: Caller, order_ids: Sequence[UUID]) -> Answer[Many[OrderSummary]]:
    rows = await database.rows(_orders(), ids=order_ids)
    seen = [row for row in rows if row["id"] is not None and caller.sees(row["tenant_id"], row["user_id"])]
    found = {row["asked"]: _order(row) for row in seen}
    absent = {row["asked"]: row["version"] for row in rows if row["asked"] not in found}
    return many(found, {key: {entities.order(key): version} for key, version in absent.items()})


async def orders_of(database: Database, caller: Caller, user_id: UUID) -> Answer[list[OrderSummary]]:
    """The latest 50 of those that the caller may see."""
    rows = await database.rows(_latest_orders(), ids=[user_id])
    return _lists(row for row in rows if row["id"] is None or caller.sees(row["tenant_id"], row["user_id"])).get(
        user_id, Answer(data=[], entities={entities.orders_of(user_id): rows[0]["list_version"]})
    )


async def orders_of_many(database: Database, user_ids: Sequence[UUID]) -> Answer[Many[list[OrderSummary]]]:
    return many(_lists(await database.rows(_latest_orders(), ids=user_ids)), {})


def _lists(rows: Iterable[Row]) -> dict[UUID, Answer[list[OrderSummary]]]:
    found: dict[UUID, Answer[list[OrderSummary]]] = {}
    for row in rows:
        user_id: UUID = row["asked"]
        if (answer := found.get(user_id)) is None:
            shown = {entities.orders_of(user_id): row["list_version"]}
            answer = found[user_id] = Answer(data=[], entities=shown)
        if row["id"] is not None:
            order = _order(row)
            answer.data.append(order.data)
            answer.entities.update(order.entities)
    return found


def _order(row: Row) -> Answer[OrderSummary]:
    contract = OrderSummary(**{name: row[name] for name in _ORDER}, version=row["version"])
    return Answer(data=contract, entities={entities.order(row["id"]): row["version"]})

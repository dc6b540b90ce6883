"""What composed screens ask about plans: for one or for a hundred at once, each read one statement."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from cloudphone_shared import entities
from cloudphone_shared.contracts.billing import Plan
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.database import Database
from cloudphone_shared.database.reads import Row, Statement, asked, many, row_of_each
from cloudphone_shared.errors import NotFound

from .models import PlanRow

_PLAN = tuple(name for name in Plan.__struct_fields__ if name != "version")


@cache
def _plans() -> Statement:
    return row_of_each(PlanRow, _PLAN, entities.plan, PlanRow.id == asked.c.id)


async def plan(database: Database, plan_id: UUID) -> Answer[Plan]:
    """Raises NotFound."""
    [row] = await database.rows(_plans(), ids=[plan_id])
    if row["id"] is None:
        raise NotFound(entities={entities.plan(plan_id): row["version"]})
    return _plan(row)


async def plans(database: Database, plan_ids: Sequence[UUID]) -> Answer[Many[Plan]]:
    rows = await database.rows(_plans(), ids=plan_ids)
    return many(
        {row["asked"]: _plan(row) for row in rows if row["id"] is not None},
        {row["asked"]: {entities.plan(row["asked"]): row["version"]} for row in rows if row["id"] is None},
    )


def _plan(row: Row) -> Answer[Plan]:
    contract = Plan(**{name: row[name] for name in _PLAN}, version=row["version"])
    return Answer(data=contract, entities={entities.plan(row["id"]): row["version"]})

"""What a service changed lately, in order: how the feed fills its gaps and begins anew."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from ..contracts.common import Answer, Contract
from ..http.app import requires
from .engine import Database
from .tables import in_schema, schema_of

MOST_CHANGES = 5000

_AFTER = """
SELECT seq, CAST(entities AS text), created_at FROM {schema}.outbox WHERE seq > :after ORDER BY seq LIMIT :limit
"""
_OLDEST_SINCE = """
SELECT least(
    (SELECT min(seq) FROM {schema}.outbox WHERE published_at >= clock_timestamp() - :ms * interval '1 millisecond'),
    (SELECT min(seq) FROM {schema}.outbox WHERE published_at IS NULL AND seq IS NOT NULL)
)
"""
_POSITION = "SELECT last_seq, incarnation FROM {schema}.service_state"


class Change(Contract, frozen=True, kw_only=True):
    """One numbered change: what it touched, with versions; `time` is when it was announced."""

    seq: int
    entities: dict[str, int]
    time: datetime


class Changes(Contract, frozen=True, kw_only=True):
    """Numbers without a gap, but for the step to a higher incarnation and for what is older than 24 hours.

    `position` is the last number given; a page ends before it when its last `seq` is less.
    """

    changes: list[Change]
    position: int
    incarnation: int


async def changes_after(session: AsyncSession, after: int, limit: int = 1000) -> Changes:
    """The changes numbered above `after`, published or about to be. Wants a session of `reading()`."""
    schema = schema_of(session)
    rows = await session.execute(in_schema(_AFTER, schema), {"after": after, "limit": limit})
    changes = [
        Change(seq=seq, entities=msgspec.json.decode(entities, type=dict[str, int]), time=time)
        for seq, entities, time in rows
    ]
    position, incarnation = (await session.execute(in_schema(_POSITION, schema))).one()
    return Changes(changes=changes, position=position, incarnation=incarnation)


async def changes_since(session: AsyncSession, ms: int, limit: int = 1000) -> Changes:
    """The changes from the first one published within the last `ms` milliseconds. Wants a session of `reading()`."""
    schema = schema_of(session)
    oldest = (await session.execute(in_schema(_OLDEST_SINCE, schema), {"ms": ms})).scalar_one()
    if oldest is not None:
        return await changes_after(session, oldest - 1, limit)
    position, incarnation = (await session.execute(in_schema(_POSITION, schema))).one()
    return Changes(changes=[], position=position, incarnation=incarnation)


def changes_route(database: Database, service: str) -> HTTPRouteHandler:
    """`GET /internal/changes?after=<seq>&limit=` or `?since_ms=<ms>&limit=`, for callers with `changes:read`."""

    @get(
        "/internal/changes",
        guards=[requires("changes:read")],
        operation_id=f"{service}Changes",
        include_in_schema=False,
    )
    async def changes(
        after: Annotated[int, QueryParameter(name="after", ge=0, le=2**53)] = 0,
        since_ms: Annotated[int | None, QueryParameter(name="since_ms", ge=0, le=86_400_000)] = None,
        limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MOST_CHANGES)] = 1000,
    ) -> Answer[Changes]:
        async with database.reading() as session:
            if since_ms is not None:
                return Answer(data=await changes_since(session, since_ms, limit), entities={})
            return Answer(data=await changes_after(session, after, limit), entities={})

    return changes

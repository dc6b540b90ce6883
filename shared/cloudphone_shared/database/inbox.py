"""Consuming an event once: the inbox row is written in the transaction of the effect."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import Unavailable
from ..events.envelope import Envelope
from .outbox import CAUSE
from .tables import in_schema, schema_of

_ENTER = """
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(hashtextextended('{schema}.inbox ' || :consumer || ' ' || :event_id, 0)) AS ours
), entered AS (
    INSERT INTO {schema}.inbox (consumer, event_id)
    SELECT :consumer, CAST(:event_id AS uuid) FROM turn WHERE ours
    ON CONFLICT DO NOTHING RETURNING event_id
)
SELECT ours, EXISTS (SELECT FROM entered) FROM turn
"""


class Busy(Unavailable):
    """The same event is being handled elsewhere and may yet fail: to be delivered again, not acknowledged."""


async def first_time(session: AsyncSession, consumer: str, event: Envelope | UUID) -> bool:
    """Whether `consumer` sees the event for the first time; False when its effect is committed already.

    What the session announces afterwards names the envelope as its cause. Raises Busy.
    """
    event_id = event.event_id if isinstance(event, Envelope) else event
    result = await session.execute(
        in_schema(_ENTER, schema_of(session)), {"consumer": consumer, "event_id": str(event_id)}
    )
    ours, entered = result.one()
    if not ours:
        raise Busy(consumer, f"event {event_id} is being handled elsewhere", retry_after=0.2)
    if isinstance(event, Envelope):
        session.info[CAUSE] = event
    return entered

"""Announcing a change in the transaction that makes it. The relay publishes what was announced."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from ..events.envelope import Envelope, Event
from ..http.context import request_id
from ..ids import uuid7
from ..observability.tracing import traceparent
from .tables import in_schema, schema_of
from .versions import BUMPED, bump_parameters

CAUSE = "cause"
"""Key of `session.info`: the envelope whose effect the session is writing; see `inbox.first_time`."""

_ANNOUNCE = f"""
WITH bumped AS ({BUMPED}),
announced AS (
    INSERT INTO {{schema}}.outbox (event_id, type, version, entities, payload, headers)
    SELECT
        CAST(event ->> 'id' AS uuid), event ->> 'type', CAST(event ->> 'version' AS integer),
        coalesce(
            (SELECT jsonb_object_agg(b.entity, b.version) FROM bumped AS b WHERE event -> 'entities' ? b.entity), '{{}}'
        ),
        CAST(event ->> 'payload' AS json), event -> 'headers'
    FROM jsonb_array_elements(CAST(CAST(:events AS text) AS jsonb)) WITH ORDINALITY AS e (event, place)
    ORDER BY place
)
SELECT pg_notify(:channel, ''), (SELECT CAST(jsonb_object_agg(entity, version) AS text) FROM bumped)
"""  # noqa: S608


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """`deleted` are entities too; they need not be named twice."""

    event: Event
    entities: Collection[str] = ()
    deleted: Collection[str] = ()


def channel(schema: str) -> str:
    """The NOTIFY channel that wakes the schema's relay."""
    return f"{schema}_outbox"


async def announce(
    session: AsyncSession, event: Event, *entities: str, deleted: Collection[str] = ()
) -> dict[str, int]:
    """Bumps the entities the event touched, writes it to the outbox and wakes the relay, in one round trip.

    Returns each entity's new version, `deleted` ones included. Call it last: it flushes the session and holds the
    entities' locks until the commit. A use case with several events announces them together, by `announce_all`.
    """
    return await announce_all(session, [Announcement(event=event, entities=entities, deleted=deleted)])


async def announce_all(session: AsyncSession, announcements: Sequence[Announcement]) -> dict[str, int]:
    """Like `announce`, for several events in their order; an entity that many touch is bumped once."""
    if not announcements:
        return {}
    await session.flush()
    schema = schema_of(session)
    touched = [entity for one in announcements for entity in one.entities]
    deleted = {entity for one in announcements for entity in one.deleted}
    parameters: dict[str, Any] = {
        **bump_parameters(touched, deleted),
        "events": msgspec.json.encode([_row(session, one) for one in announcements]).decode(),
        "channel": channel(schema),
    }
    versions = (await session.execute(in_schema(_ANNOUNCE, schema), parameters)).one()[1]
    return msgspec.json.decode(versions, type=dict[str, int]) if versions else {}


def _row(session: AsyncSession, announcement: Announcement) -> dict[str, object]:
    event = announcement.event
    return {
        "id": uuid7(),
        "type": event.type,
        "version": event.version,
        "entities": list({*announcement.entities, *announcement.deleted}),
        "payload": msgspec.json.encode(event).decode(),
        "headers": _headers(session, event),
    }


def _headers(session: AsyncSession, event: Event) -> dict[str, str]:
    cause: Envelope | None = session.info.get(CAUSE)
    tenant_id = getattr(event, "tenant_id", None)
    headers = {
        "tenant_id": str(tenant_id) if tenant_id is not None else None,
        "correlation_id": (cause.correlation_id if cause else None) or request_id.get() or None,
        "causation_id": str(cause.event_id) if cause else None,
        "traceparent": traceparent(),
    }
    return {name: value for name, value in headers.items() if value is not None}

"""Entity versions: strictly increasing per entity, taken under its row's lock in the transaction of the change."""

from collections.abc import Collection, Iterable

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from ..ids import uuid7
from .engine import Database
from .tables import INCARNATION, in_schema, schema_of

INCARNATION_RAISED = "incarnation.raised"
"""Type suffix of the change that begins a higher incarnation; it touches no entity."""

BUMPED = f"""
    INSERT INTO {{schema}}.entity_versions AS known (entity, version, deleted_at)
    SELECT e.entity, state.incarnation * {INCARNATION} + 1, CASE WHEN e.deleted THEN clock_timestamp() END
    FROM unnest(CAST(:entities AS text[]), CAST(:deleted AS boolean[])) WITH ORDINALITY AS e (entity, deleted, place)
    CROSS JOIN {{schema}}.service_state AS state
    ORDER BY e.place
    ON CONFLICT (entity) DO UPDATE
    SET version = greatest(known.version, excluded.version - 1) + 1, deleted_at = excluded.deleted_at
    RETURNING entity, version
"""  # noqa: S608
"""Bumps `:entities` in the order given, which is byte order: so two transactions never wait for each other."""

_VERSIONS = "SELECT entity, version FROM {schema}.entity_versions WHERE entity = ANY(CAST(:entities AS text[]))"

_ANY = "SELECT EXISTS (SELECT FROM {schema}.entity_versions)"


def bump_parameters(entities: Iterable[str], deleted: Collection[str]) -> dict[str, list[str] | list[bool]]:
    ordered = sorted({*entities, *deleted}, key=str.encode)
    return {"entities": ordered, "deleted": [entity in deleted for entity in ordered]}


async def bump(session: AsyncSession, *entities: str, deleted: Collection[str] = ()) -> dict[str, int]:
    """Raises the entities' versions and returns them; holds their locks until the transaction ends.

    `deleted` are bumped as well and marked as gone. What the session holds unwritten is flushed first: all
    use cases lock their rows before the versions. A change nobody hears of is a stale view: use `announce`.
    """
    await session.flush()
    rows = await session.execute(in_schema(BUMPED, schema_of(session)), bump_parameters(entities, deleted))
    return {row.entity: row.version for row in rows}


async def versions_of(session: AsyncSession, *entities: str) -> dict[str, int]:
    """Every entity's version in the session's snapshot; 0 for one never heard of, the tombstone's for a deleted one."""
    rows = await session.execute(in_schema(_VERSIONS, schema_of(session)), {"entities": list(entities)})
    known: dict[str, int] = {row.entity: row.version for row in rows}
    return {entity: known.get(entity, 0) for entity in entities}


async def raise_incarnation(database: Database) -> int:
    """To be called after a restore from a backup, or the promotion of an asynchronous standby: whatever was
    announced and lost is outnumbered by all that follows. Returns the new incarnation.
    """
    async with database.writing() as session:
        # Waits for writers that took a version of the old incarnation, and holds back new ones.
        await session.execute(
            in_schema("LOCK TABLE {schema}.entity_versions IN SHARE ROW EXCLUSIVE MODE", database.schema)
        )
        incarnation = (
            await session.execute(
                in_schema(
                    f"UPDATE {{schema}}.service_state SET incarnation = incarnation + 1,"  # noqa: S608
                    f" last_seq = (incarnation + 1) * {INCARNATION} RETURNING incarnation",
                    database.schema,
                )
            )
        ).scalar_one()
        await session.execute(
            in_schema("UPDATE {schema}.outbox SET seq = NULL WHERE published_at IS NULL", database.schema)
        )
        await session.execute(
            in_schema(
                "INSERT INTO {schema}.outbox (event_id, type, version, entities, payload, headers)"
                " VALUES (:event_id, :type, 1, '{}', CAST(CAST(:payload AS text) AS json), '{}')",
                database.schema,
            ),
            {
                "event_id": uuid7(),
                "type": f"{database.service}.{INCARNATION_RAISED}",
                "payload": msgspec.json.encode({"incarnation": incarnation}).decode(),
            },
        )
    return incarnation


async def holds_anything(database: Database) -> bool:
    """Whether the service has, or ever had, any entity."""
    async with database.reading() as session:
        return bool((await session.execute(in_schema(_ANY, database.schema))).scalar_one())

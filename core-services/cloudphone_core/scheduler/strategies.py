"""Which of the nodes that fit comes next.

Round robin and weighted round robin keep a ring for each tenant and kind of wish: every node of it has a time at which
it is due, the node due first is taken and is due again a step later. Steps are equal, or as long as the node's weight
is short; so over any stretch each node has had its share to within one turn, in a smooth mix, and a choice reads no
more of the ring than it passes over. A node that did not fit for a while is due at once when it does again, once.
"""

import hashlib
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.scheduler import Constraints, Strategy
from cloudphone_shared.database.tables import in_schema

from .models import SCHEMA

STEP = 10**9
"""The time from one turn to the next of a node of weight 1."""


class Ranking(msgspec.Struct, frozen=True):
    """Fragments of the query for the next node `n`. `whole`: no node waits for its place in the ring."""

    source: str
    where: str
    order: str
    whole: str


def pool_of(constraints: Constraints, strategy: Strategy) -> str:
    """The same for requests that any device serves alike."""
    return _digest(strategy, constraints)


def ring_of(constraints: Constraints, strategy: Strategy) -> str | None:
    """Whose turn it is depends on the kind of device, not on which others it is to stand with."""
    if strategy == "least_connection":
        return None
    return _digest(strategy, msgspec.structs.replace(constraints, near_device_id=None, apart_from_device_id=None))


def ranking(ring: str | None) -> Ranking:
    """Both orders are an index's: what stands behind the node that is found is not read."""
    return _BY_TURN if ring is not None else _BY_LOAD


async def complete(session: AsyncSession, tenant_id: UUID, ring: str, strategy: Strategy) -> None:
    """Gives every node that the tenant has come to since a place in the ring, half a step from now.

    Under the tenant's lock.
    """
    await session.execute(in_schema(_COMPLETE, SCHEMA), _turn(tenant_id, ring, strategy))


async def take_turn(session: AsyncSession, tenant_id: UUID, ring: str, strategy: Strategy, node_id: UUID) -> None:
    """The node has had its turn. Under the tenant's lock."""
    await session.execute(in_schema(_TAKE, SCHEMA), {**_turn(tenant_id, ring, strategy), "node_id": node_id})


async def forget_rings(session: AsyncSession, unused_seconds: float) -> None:
    """Those that nobody used for so long; their next use begins a new round."""
    await session.execute(in_schema(_FORGET, SCHEMA), {"seconds": unused_seconds})


def _turn(tenant_id: UUID, ring: str, strategy: Strategy) -> dict[str, object]:
    return {"tenant_id": tenant_id, "ring": ring, "weighted": strategy == "weighted_round_robin", "step": STEP}


def _digest(strategy: Strategy, constraints: Constraints) -> str:
    told = msgspec.json.encode([strategy, constraints], order="deterministic")
    return hashlib.blake2b(told, digest_size=16).hexdigest()


_BY_LOAD = Ranking("{schema}.nodes AS n", "true", "n.live, n.id", "true")
_BY_TURN = Ranking(
    "{schema}.turns AS t JOIN {schema}.nodes AS n ON n.id = t.node_id",
    "t.tenant_id = CAST(:tenant_id AS uuid) AND t.ring = CAST(:ring AS text)",
    "t.due, t.node_id",
    "(SELECT r.sites_seen FROM {schema}.rings AS r WHERE r.tenant_id = :tenant_id AND r.key = :ring)"
    " IS NOT DISTINCT FROM (SELECT max(s.seq) FROM {schema}.sites AS s WHERE s.tenant_id = :tenant_id)",
)

_STEP_OF_NODE = "CASE WHEN CAST(:weighted AS boolean) THEN CAST(:step AS bigint) / n.weight ELSE :step END"

_COMPLETE = f"""
WITH ring AS (
    SELECT clock, sites_seen FROM {{schema}}.rings
    WHERE tenant_id = CAST(:tenant_id AS uuid) AND key = CAST(:ring AS text)
), placed AS (
    INSERT INTO {{schema}}.turns (tenant_id, ring, node_id, due)
    SELECT :tenant_id, :ring, n.id, coalesce((SELECT clock FROM ring), 0) + {_STEP_OF_NODE} / 2
    FROM {{schema}}.sites AS s JOIN {{schema}}.nodes AS n ON n.id = s.node_id
    WHERE s.tenant_id = :tenant_id AND s.seq > coalesce((SELECT sites_seen FROM ring), 0)
    ON CONFLICT DO NOTHING
)
INSERT INTO {{schema}}.rings (tenant_id, key, clock, sites_seen, used_at)
SELECT :tenant_id, :ring, 0, max(seq), clock_timestamp() FROM {{schema}}.sites WHERE tenant_id = :tenant_id
HAVING count(*) > 0
ON CONFLICT (tenant_id, key) DO UPDATE SET sites_seen = excluded.sites_seen
"""  # noqa: S608

_TAKE = f"""
WITH now AS (
    SELECT greatest(t.due, r.clock) AS turn, {_STEP_OF_NODE} AS step
    FROM {{schema}}.turns AS t
    JOIN {{schema}}.rings AS r ON r.tenant_id = t.tenant_id AND r.key = t.ring
    JOIN {{schema}}.nodes AS n ON n.id = t.node_id
    WHERE t.tenant_id = CAST(:tenant_id AS uuid) AND t.ring = CAST(:ring AS text) AND t.node_id = CAST(:node_id AS uuid)
), passed AS (
    UPDATE {{schema}}.rings SET clock = (SELECT turn FROM now), used_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND key = :ring
)
UPDATE {{schema}}.turns SET due = (SELECT turn + step FROM now)
WHERE tenant_id = :tenant_id AND ring = :ring AND node_id = :node_id
"""  # noqa: S608

_FORGET = """
WITH gone AS (
    DELETE FROM {schema}.rings WHERE used_at < clock_timestamp() - make_interval(secs => :seconds)
    RETURNING tenant_id, key
)
DELETE FROM {schema}.turns AS t USING gone WHERE t.tenant_id = gone.tenant_id AND t.ring = gone.key
"""

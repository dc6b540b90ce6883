"""Which of the nodes that fit comes next.

Round robin and weighted round robin keep a ring for each tenant and kind of wish: every node of it has a time at which
it is due, the node due first is taken and is due again a step later. Steps are equal, or as long as the node's weight
is short; so over any stretch each node has had its share to within one turn, in a smooth mix, and a choice reads no
more of the ring than it passes over. A node that did not fit for a while is due at once when it does again, once.
"""

import hashlib
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared.contracts.scheduler import Constraints, Strategy

from .models import NodeRow, RingRow, SiteRow, TurnRow

STEP = 10**9
"""The time from one turn to the next of a node of weight 1."""


class Ranking(msgspec.Struct, frozen=True):
    """A query's FROM that has the tenant's nodes, and the order in which they are taken."""

    source: sa.FromClause
    where: ColumnElement[bool]
    order: tuple[ColumnElement[Any], ...]
    ring: str | None


def pool_of(constraints: Constraints, strategy: Strategy) -> str:
    """The same for requests that any device serves alike."""
    return _digest(strategy, constraints)


def ring_of(constraints: Constraints, strategy: Strategy) -> str | None:
    """Whose turn it is depends on the kind of device, not on which others it is to stand with."""
    if strategy == "least_connection":
        return None
    return _digest(strategy, msgspec.structs.replace(constraints, near_device_id=None, apart_from_device_id=None))


def ranking(tenant_id: UUID, ring: str | None) -> Ranking:
    nodes = NodeRow.__table__
    if ring is None:
        source = sa.join(SiteRow.__table__, nodes, SiteRow.node_id == NodeRow.id)
        return Ranking(source, SiteRow.tenant_id == tenant_id, (NodeRow.live.asc(), NodeRow.id.asc()), None)
    source = sa.join(TurnRow.__table__, nodes, TurnRow.node_id == NodeRow.id)
    of_ring = sa.and_(TurnRow.tenant_id == tenant_id, TurnRow.ring == ring)
    return Ranking(source, of_ring, (TurnRow.due.asc(), TurnRow.node_id.asc()), ring)


async def complete(session: AsyncSession, tenant_id: UUID, ring: str, strategy: Strategy) -> None:
    """Gives every node that the tenant has come to since a place in the ring, half a step from now.

    Under the tenant's lock.
    """
    weighted = strategy == "weighted_round_robin"
    await session.execute(_COMPLETE, {"tenant_id": tenant_id, "ring": ring, "weighted": weighted, "step": STEP})


async def take_turn(session: AsyncSession, tenant_id: UUID, ring: str, strategy: Strategy, node_id: UUID) -> None:
    """The node has had its turn. Under the tenant's lock."""
    weighted = strategy == "weighted_round_robin"
    parameters = {"tenant_id": tenant_id, "ring": ring, "weighted": weighted, "step": STEP, "node_id": node_id}
    await session.execute(_TAKE, parameters)


async def forget_rings(session: AsyncSession, unused_seconds: float) -> None:
    """Those that nobody used for so long; their next use begins a new round."""
    await session.execute(_FORGET, {"seconds": unused_seconds})


def _digest(strategy: Strategy, constraints: Constraints) -> str:
    told = msgspec.json.encode([strategy, constraints], order="deterministic")
    return hashlib.blake2b(told, digest_size=16).hexdigest()


_STEP_OF_NODE = "CASE WHEN CAST(:weighted AS boolean) THEN CAST(:step AS bigint) / n.weight ELSE :step END"

_COMPLETE = sa.text(f"""
WITH known AS (
    SELECT max(seq) AS last FROM {SiteRow.__table__} WHERE tenant_id = CAST(:tenant_id AS uuid)
), ring AS (
    SELECT clock, sites_seen FROM {RingRow.__table__} WHERE tenant_id = :tenant_id AND key = CAST(:ring AS text)
), missing AS (
    SELECT s.node_id, coalesce((SELECT clock FROM ring), 0) + {_STEP_OF_NODE} / 2 AS due
    FROM {SiteRow.__table__} AS s JOIN {NodeRow.__table__} AS n ON n.id = s.node_id
    WHERE s.tenant_id = :tenant_id AND s.seq > coalesce((SELECT sites_seen FROM ring), 0)
      AND coalesce((SELECT sites_seen FROM ring), 0) < (SELECT last FROM known)
), placed AS (
    INSERT INTO {TurnRow.__table__} (tenant_id, ring, node_id, due)
    SELECT :tenant_id, :ring, node_id, due FROM missing ON CONFLICT DO NOTHING
)
INSERT INTO {RingRow.__table__} AS r (tenant_id, key, clock, sites_seen, used_at)
SELECT :tenant_id, :ring, 0, last, clock_timestamp() FROM known WHERE last IS NOT NULL
ON CONFLICT (tenant_id, key) DO UPDATE SET sites_seen = excluded.sites_seen
WHERE r.sites_seen < excluded.sites_seen
""")  # noqa: S608

_TAKE = sa.text(f"""
WITH now AS (
    SELECT greatest(t.due, r.clock) AS turn, {_STEP_OF_NODE} AS step
    FROM {TurnRow.__table__} AS t
    JOIN {RingRow.__table__} AS r ON r.tenant_id = t.tenant_id AND r.key = t.ring
    JOIN {NodeRow.__table__} AS n ON n.id = t.node_id
    WHERE t.tenant_id = CAST(:tenant_id AS uuid) AND t.ring = CAST(:ring AS text) AND t.node_id = CAST(:node_id AS uuid)
), passed AS (
    UPDATE {RingRow.__table__} SET clock = (SELECT turn FROM now), used_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND key = :ring
)
UPDATE {TurnRow.__table__} SET due = (SELECT turn + step FROM now)
WHERE tenant_id = :tenant_id AND ring = :ring AND node_id = :node_id
""")  # noqa: S608

_FORGET = sa.text(f"""
WITH gone AS (
    DELETE FROM {RingRow.__table__} WHERE used_at < clock_timestamp() - make_interval(secs => :seconds)
    RETURNING tenant_id, key
)
DELETE FROM {TurnRow.__table__} AS t USING gone WHERE t.tenant_id = gone.tenant_id AND t.ring = gone.key
""")  # noqa: S608

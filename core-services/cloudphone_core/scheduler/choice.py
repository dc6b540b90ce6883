"""Choosing a device, and saying why a node was not chosen: both by the same conditions.

The statements are text, put together from a handful of fragments: a choice is made for every allocation, and is to
cost no more than what the database does for it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.scheduler import Constraints, NodeVerdict, Placement, Strategy
from cloudphone_shared.database.tables import in_schema

from .models import SCHEMA
from .strategies import complete, ranking, ring_of


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A device of this tenant's, for constraints, to be chosen by a strategy."""

    tenant_id: UUID
    constraints: Constraints
    strategy: Strategy


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    device_id: UUID
    node_id: UUID


class Check(msgspec.Struct, frozen=True):
    """What must hold of a node `n`, and what to say where it does not."""

    holds: str
    words: Callable[[Any], str]


async def choose(session: AsyncSession, wish: Wish, tried: list[UUID] | None = None) -> Choice | None:
    """The device that the wish gets now, its row locked; None where nothing fits. Nodes that were `tried` in vain are
    passed over.

    Under the tenant's lock.
    """
    ring = ring_of(wish.constraints, wish.strategy)
    statement = in_schema(_choosing(wish, ring), SCHEMA)
    tried = [] if tried is None else tried
    while True:
        parameters = {**_parameters(wish), "tried": tried} | ({} if ring is None else {"ring": ring})
        node_id, device_id, whole = (await session.execute(statement, parameters)).one()
        if ring is not None and not whole:
            await complete(session, wish.tenant_id, ring, wish.strategy)
        elif node_id is None:
            return None
        elif device_id is None:
            tried.append(node_id)
        else:
            return Choice(device_id=device_id, node_id=node_id)


async def explain(session: AsyncSession, wish: Wish, chosen: Choice | None) -> Placement:
    """Every node's verdict, by name."""
    checks = checks_of(wish)
    columns = ", ".join(f"{check.holds} AS check_{n}" for n, check in enumerate(checks))
    sql = f"""
        SELECT n.id, n.name, n.status, n.region, n.capacity, n.last_heartbeat_at,
            (SELECT count(*) FROM {{schema}}.devices AS d WHERE {_free(wish)} AND d.node_id = n.id) AS free, {columns}
        FROM {{schema}}.nodes AS n WHERE {_KNOWN} ORDER BY n.name, n.id
    """  # noqa: S608
    rows = await session.execute(in_schema(sql, SCHEMA), _parameters(wish))
    verdicts = [_verdict(node, checks, chosen) for node in rows]
    return Placement(
        strategy=wish.strategy,
        device_id=chosen.device_id if chosen else None,
        node_id=chosen.node_id if chosen else None,
        nodes=verdicts,
    )


def in_short(placement: Placement) -> str:
    """Why nothing fitted, in a sentence that names no node."""
    if not placement.nodes:
        return "There are no nodes"
    met = Counter(reason for node in placement.nodes for reason in node.reasons)
    count = len(placement.nodes)
    told = [f"{reason} ({n} of {count} node{'s' if count > 1 else ''})" for reason, n in met.most_common(4)]
    return "No device fits: " + "; ".join(told) if told else "The devices that fit go to who waited longer"


def checks_of(wish: Wish) -> list[Check]:
    """In the order in which a person would ask."""
    wanted = wish.constraints
    checks = [
        Check("n.status = 'online'", lambda node: _STATUS.get(node.status, f"it is {node.status}")),
        Check("n.health = 'online'", _silence),
        Check("n.live < n.capacity", lambda node: f"its capacity of {node.capacity} is allocated"),
    ]
    if (region := wanted.region) is not None:
        at_hand = "n.region = CAST(:region AS text)"
        checks.append(Check(at_hand, lambda node: f"it stands in {node.region}, not in {region}"))
    checks.extend(_labelled(n, name, value) for n, (name, value) in enumerate(wanted.labels.items()))
    if (near := wanted.near_device_id) is not None:
        beside = f"coalesce(n.id = {_node_of('near')}, false)"
        checks.append(Check(beside, lambda node: f"the device {near} is not on it"))
    if (apart := wanted.apart_from_device_id) is not None:
        checks.append(Check(f"n.id IS DISTINCT FROM {_node_of('apart')}", lambda node: f"the device {apart} is on it"))
    free = f"EXISTS (SELECT FROM {{schema}}.devices AS d WHERE {_free(wish)} AND d.node_id = n.id)"
    kind = " of the kind that was asked for" if wanted.abi or wanted.template_id else ""
    return [*checks, Check(free, lambda node: f"it has no idle device of the tenant's{kind}")]


_KNOWN = "n.version > 0 AND NOT n.deleted"
_STATUS = {
    "draining": "it is being drained",
    "maintenance": "it is in maintenance",
    "offline": "it was taken offline",
}


def _choosing(wish: Wish, ring: str | None) -> str:
    """The first node that fits (joined with its idle device, which is the last check: so the planner sees that an index
    gives the first at once), and of its devices the first that nobody is writing news of. Says as well whether all
    nodes of the tenant have their place in the ring."""
    ranked = ranking(ring)
    fits = " AND ".join(check.holds for check in checks_of(wish)[:-1])
    return f"""
        WITH node AS MATERIALIZED (
            SELECT n.id FROM {ranked.source} CROSS JOIN LATERAL (
                SELECT FROM {{schema}}.devices AS d WHERE {_free(wish)} AND d.node_id = n.id LIMIT 1
            ) AS idle
            WHERE {ranked.where} AND {_KNOWN} AND {fits} AND n.id <> ALL (CAST(:tried AS uuid[]))
            ORDER BY {ranked.order} LIMIT 1
        )
        SELECT node.id, device.id, {ranked.whole} FROM (SELECT) AS one LEFT JOIN node ON true LEFT JOIN LATERAL (
            SELECT d.id FROM {{schema}}.devices AS d WHERE {_free(wish)} AND d.node_id = node.id
            ORDER BY d.id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS device ON true
    """  # noqa: S608


def _free(wish: Wish) -> str:
    """The tenant's devices `d` that can be given away, of the kind wished for."""
    wanted = wish.constraints
    conditions = [
        "d.tenant_id = CAST(:tenant_id AS uuid)",
        "d.state = 'idle' AND d.allocation_id IS NULL AND NOT d.deleted",
        "(d.rest_until IS NULL OR d.rest_until < clock_timestamp())",
    ]
    if wanted.template_id is not None:
        conditions.append("d.template_id = CAST(:template_id AS uuid)")
    if wanted.abi is not None:
        fitting = "SELECT t.id FROM {schema}.templates AS t WHERE t.abis @> ARRAY[CAST(:abi AS text)]"
        conditions.append(f"d.template_id IN ({fitting})")
    return " AND ".join(conditions)


def _labelled(n: int, name: str, value: str) -> Check:
    holds = f"n.labels @> jsonb_build_object(CAST(:label_{n} AS text), CAST(:value_{n} AS text))"
    return Check(holds, lambda node: f"it is not labelled {name}={value}")


def _node_of(device: str) -> str:
    return (
        f"(SELECT b.node_id FROM {{schema}}.devices AS b WHERE b.id = CAST(:{device} AS uuid)"  # noqa: S608
        " AND b.tenant_id = CAST(:tenant_id AS uuid))"
    )


def _parameters(wish: Wish) -> dict[str, object]:
    wanted = wish.constraints
    named = {
        "region": wanted.region,
        "near": wanted.near_device_id,
        "apart": wanted.apart_from_device_id,
        "template_id": wanted.template_id,
        "abi": wanted.abi,
    }
    labels: dict[str, object] = {}
    for n, (name, value) in enumerate(wanted.labels.items()):
        labels |= {f"label_{n}": name, f"value_{n}": value}
    given = {name: value for name, value in named.items() if value is not None}
    return {"tenant_id": wish.tenant_id, **given, **labels}


def _verdict(node: Any, checks: list[Check], chosen: Choice | None) -> NodeVerdict:
    reasons = [check.words(node) for n, check in enumerate(checks) if not getattr(node, f"check_{n}")]
    return NodeVerdict(
        node_id=node.id,
        node_name=node.name,
        fits=not reasons,
        chosen=chosen is not None and chosen.node_id == node.id,
        free_devices=node.free,
        reasons=reasons,
    )


def _silence(node: Any) -> str:
    if node.last_heartbeat_at is None:
        return "it has never reported"
    return f"it is silent since {node.last_heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"

"""Choosing a device, and saying why a node was not chosen: both by the same conditions."""

from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from cloudphone_shared.contracts.scheduler import Constraints, NodeVerdict, Placement, Strategy

from .models import DeviceRow, NodeRow, TemplateRow
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
    """What must hold of a node, and what to say where it does not."""

    holds: ColumnElement[bool]
    words: Callable[[NodeRow], str]


async def choose(session: AsyncSession, wish: Wish) -> Choice | None:
    """The device that the wish gets now, its row and its node's locked; None where nothing fits.

    Under the tenant's lock.
    """
    ring = ring_of(wish.constraints, wish.strategy)
    if ring is not None:
        await complete(session, wish.tenant_id, ring, wish.strategy)
    tried: list[UUID] = []
    while (node_id := await _next_node(session, wish, ring, tried)) is not None:
        device_id = await session.scalar(_device_on(wish, node_id))
        if device_id is not None and await _still_fits(session, wish, node_id):
            return Choice(device_id=device_id, node_id=node_id)
        tried.append(node_id)
    return None


async def explain(session: AsyncSession, wish: Wish, chosen: Choice | None) -> Placement:
    """Every node's verdict, by name."""
    checks = checks_of(wish)
    free = (
        sa.select(sa.func.count()).where(*_free(wish), DeviceRow.node_id == NodeRow.id).scalar_subquery().label("free")
    )
    columns = [check.holds.label(f"check_{n}") for n, check in enumerate(checks)]
    rows = await session.execute(sa.select(NodeRow, free, *columns).where(_known()).order_by(NodeRow.name, NodeRow.id))
    verdicts: list[NodeVerdict] = []
    for node, count, *held in rows:
        reasons = [check.words(node) for check, holds in zip(checks, held, strict=True) if not holds]
        verdicts.append(
            NodeVerdict(
                node_id=node.id,
                node_name=node.name,
                fits=not reasons,
                chosen=chosen is not None and chosen.node_id == node.id,
                free_devices=count,
                reasons=reasons,
            )
        )
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
        Check(NodeRow.status == "online", lambda node: _STATUS.get(node.status, f"it is {node.status}")),
        Check(NodeRow.health == "online", lambda node: _silence(node)),
        Check(NodeRow.live < NodeRow.capacity, lambda node: f"its capacity of {node.capacity} is allocated"),
    ]
    if (region := wanted.region) is not None:
        checks.append(Check(NodeRow.region == region, lambda node: f"it stands in {node.region}, not in {region}"))
    for name, value in wanted.labels.items():
        checks.append(_labelled(name, value))
    if (near := wanted.near_device_id) is not None:
        beside = NodeRow.id == _node_of(wish.tenant_id, near)
        checks.append(Check(sa.func.coalesce(beside, False), lambda node: f"the device {near} is not on it"))
    if (apart := wanted.apart_from_device_id) is not None:
        elsewhere = NodeRow.id.is_distinct_from(_node_of(wish.tenant_id, apart))
        checks.append(Check(elsewhere, lambda node: f"the device {apart} is on it"))
    free = sa.exists().where(*_free(wish), DeviceRow.node_id == NodeRow.id)
    kind = " of the kind that was asked for" if wanted.abi or wanted.template_id else ""
    return [*checks, Check(free, lambda node: f"it has no idle device of the tenant's{kind}")]


_STATUS = {
    "draining": "it is being drained",
    "maintenance": "it is in maintenance",
    "offline": "it was taken offline",
}


def _silence(node: NodeRow) -> str:
    if node.last_heartbeat_at is None:
        return "it has never reported"
    return f"it is silent since {node.last_heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"


def _labelled(name: str, value: str) -> Check:
    return Check(NodeRow.labels.contains({name: value}), lambda node: f"it is not labelled {name}={value}")


def _node_of(tenant_id: UUID, device_id: UUID) -> sa.ScalarSelect[UUID | None]:
    found = sa.select(DeviceRow.node_id).where(DeviceRow.id == device_id, DeviceRow.tenant_id == tenant_id)
    return found.scalar_subquery()


def _known() -> ColumnElement[bool]:
    return sa.and_(NodeRow.version > 0, ~NodeRow.deleted)


def _free(wish: Wish) -> list[ColumnElement[bool]]:
    """The tenant's devices that can be given away, of the kind wished for."""
    wanted = wish.constraints
    conditions: list[ColumnElement[bool]] = [
        DeviceRow.tenant_id == wish.tenant_id,
        DeviceRow.state == sa.literal_column("'idle'"),
        DeviceRow.allocation_id.is_(None),
        ~DeviceRow.deleted,
        sa.or_(DeviceRow.rest_until.is_(None), DeviceRow.rest_until < sa.func.clock_timestamp()),
    ]
    if wanted.template_id is not None:
        conditions.append(DeviceRow.template_id == wanted.template_id)
    if wanted.abi is not None:
        fitting = sa.select(TemplateRow.id).where(TemplateRow.abis.contains([wanted.abi]))
        conditions.append(DeviceRow.template_id.in_(fitting))
    return conditions


async def _next_node(session: AsyncSession, wish: Wish, ring: str | None, tried: Sequence[UUID]) -> UUID | None:
    ranked = ranking(wish.tenant_id, ring)
    fits = [check.holds for check in checks_of(wish)]
    statement = sa.select(NodeRow.id).select_from(ranked.source).where(ranked.where, _known(), *fits)
    if tried:
        statement = statement.where(NodeRow.id.not_in(tried))
    return await session.scalar(statement.order_by(*ranked.order).limit(1))


def _device_on(wish: Wish, node_id: UUID) -> sa.Select[UUID]:
    """Passes over those whose news are being written down."""
    here = sa.select(DeviceRow.id).where(*_free(wish), DeviceRow.node_id == node_id)
    return here.order_by(DeviceRow.id).limit(1).with_for_update(skip_locked=True)


async def _still_fits(session: AsyncSession, wish: Wish, node_id: UUID) -> bool:
    """Locks the node: what was drained, lost or filled meanwhile is not taken."""
    fits = [check.holds for check in checks_of(wish)]
    statement = sa.select(NodeRow.id).where(NodeRow.id == node_id, _known(), *fits).with_for_update(of=NodeRow)
    return await session.scalar(statement) is not None

"""Who does which operation: taken, given back and ended in the database, whose clock alone counts."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from cloudphone_shared.contracts.operation import OperationKind
from cloudphone_shared.database import Database
from cloudphone_shared.database.outbox import announce_all

from ..models import DeviceRow, NodeRow, OperationRow
from ..moves import DEADLINES, deadline_of
from .job import ON_THE_PHONE, LeaseLost, OperationFacts, Outcome, Settle, leased
from .requesting import changed


async def claim(
    database: Database, kinds: Sequence[OperationKind], lease_seconds: float, nodes: Sequence[str] | None = None
) -> OperationFacts | None:
    """The oldest operation that nobody does, now this caller's; None when there is none. `nodes`: names of those whose
    devices the caller can reach, None: all.

    That is one that waits and may begin, or one whose worker was not heard of for the length of its lease. A device
    with work under way is left alone; its own life goes before what is done on its phone.
    """
    while True:
        try:
            return await _claim(database, kinds, lease_seconds, nodes)
        except IntegrityError:
            # Another worker began something on the same device at the same moment: the index let one through.
            continue


async def _claim(
    database: Database, kinds: Sequence[OperationKind], lease_seconds: float, nodes: Sequence[str] | None
) -> OperationFacts | None:
    now, other = sa.func.clock_timestamp(), aliased(OperationRow)
    busy = sa.exists().where(
        other.device_id == OperationRow.device_id, other.id != OperationRow.id, other.state == "running"
    )
    waiting = sa.and_(
        OperationRow.state == "queued",
        sa.or_(OperationRow.not_before.is_(None), OperationRow.not_before <= now),
        ~busy,
    )
    orphaned = sa.and_(OperationRow.state == "running", OperationRow.leased_until < now)
    free = (
        sa.select(OperationRow.id)
        .where(OperationRow.kind.in_(kinds), sa.or_(waiting, orphaned), *_within_reach(nodes))
        .order_by(OperationRow.kind.in_(ON_THE_PHONE), OperationRow.created_at, OperationRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = (
        sa.update(OperationRow)
        .where(OperationRow.id == free.scalar_subquery())
        .values(
            state="running",
            attempt=OperationRow.attempt + 1,
            lease_token=uuid4(),
            leased_until=now + _seconds(lease_seconds),
            not_before=None,
            updated_at=now,
        )
        .returning(OperationRow)
        .execution_options(synchronize_session=False)
    )
    async with database.writing() as session:
        row = (await session.scalars(taken)).one_or_none()
        return None if row is None else _facts(row)


def _within_reach(nodes: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    if nodes is None:
        return []
    placed = sa.select(DeviceRow.id).join(NodeRow, NodeRow.id == DeviceRow.node_id).where(NodeRow.name.in_(nodes))
    return [OperationRow.device_id.in_(placed)]


async def begin(database: Database, operation: OperationFacts) -> OperationFacts:
    """Gives the device's state the time that its work may take, the first time only. Raises LeaseLost."""
    async with database.writing() as session:
        device = await session.get_one(DeviceRow, operation.device_id, with_for_update=True)
        row = await leased(session, operation)
        told = [changed(row, device.owner_id)]
        if operation.attempt == 1 and device.state in DEADLINES and operation.kind not in ON_THE_PHONE:
            device.state_deadline_at = row.deadline_at = deadline_of(device.state) or row.deadline_at
        facts = _facts(row)
        await announce_all(session, told)
        return facts


async def finish(database: Database, outcome: Outcome, settle: Settle) -> None:
    """Ends it, with all that its end changes. Raises LeaseLost, and then nothing is changed."""
    async with database.writing() as session:
        device = await session.get_one(DeviceRow, outcome.operation.device_id, with_for_update=True)
        row = await leased(session, outcome.operation)
        _end(row, outcome)
        await announce_all(session, [*await settle(session, device, outcome), changed(row, device.owner_id)])


async def end_overdue(session: AsyncSession, device: DeviceRow, row: OperationRow, settle: Settle | None) -> None:
    """Ends an operation whose time is over, whoever does it: what that worker still wants to record is refused.

    The caller has locked the device.
    """
    detail = f"It did not end in its time; it was at: {row.step}"
    outcome = Outcome(operation=_facts(row), state="failed", code="deadline", detail=detail)
    _end(row, outcome)
    told = await settle(session, device, outcome) if settle else []
    await announce_all(session, [*told, changed(row, device.owner_id)])


async def give_back(database: Database, operation: OperationFacts, after: float, step: str) -> None:
    """To be tried again, by anybody, after so many seconds. Raises LeaseLost."""
    async with database.writing() as session:
        row = await leased(session, operation)
        row.state, row.lease_token, row.leased_until = "queued", None, None
        row.not_before = sa.func.clock_timestamp() + _seconds(after)
        row.step, row.updated_at = step, sa.func.clock_timestamp()
        await announce_all(session, [changed(row, None)])


async def renew(database: Database, operation: OperationFacts, lease_seconds: float) -> None:
    """Raises LeaseLost."""
    async with database.writing() as session:
        row = await leased(session, operation)
        row.leased_until = sa.func.clock_timestamp() + _seconds(lease_seconds)


async def let_go(database: Database, tokens: list[UUID]) -> None:
    """What this worker had under way may be taken up at once by another."""
    async with database.writing() as session:
        await session.execute(
            sa.update(OperationRow)
            .where(OperationRow.lease_token.in_(tokens))
            .values(leased_until=sa.func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )


def _end(row: OperationRow, outcome: Outcome) -> None:
    row.state, row.lease_token, row.leased_until = outcome.state, None, None  # pyright: ignore[reportAttributeAccessIssue]
    row.not_before = None
    row.finished_at = row.updated_at = sa.func.clock_timestamp()
    if outcome.state == "succeeded":
        row.progress, row.step = 100, "done"
        row.result = outcome.result or None
    else:
        row.error_code, row.error_detail = outcome.code, outcome.detail


def _facts(row: OperationRow) -> OperationFacts:
    values: Mapping[str, Any] = {
        name: getattr(row, name) for name in OperationFacts.__struct_fields__ if name != "token"
    }
    return msgspec.convert({**values, "token": row.lease_token or row.id}, OperationFacts)


def _seconds(number: float) -> Any:
    return sa.func.make_interval(0, 0, 0, 0, 0, 0, number)


__all__ = ["LeaseLost", "begin", "claim", "end_overdue", "finish", "give_back", "let_go", "renew"]

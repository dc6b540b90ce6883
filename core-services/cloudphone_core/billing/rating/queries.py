"""What rating answers about rules, charges and runs. Each function wants a session of `reading()`, or the writing one
that holds the row's lock."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.contracts.invoice import RunHistory, RunTold
from cloudphone_shared.contracts.rating import BillingRule, Charge, RuleKind, RuleRevision
from cloudphone_shared.database.pagination import Cursors, Sorts, containing, equal, page
from cloudphone_shared.database.versions import versions_of
from cloudphone_shared.errors import NotFound
from cloudphone_shared.http.lists import ListQuery

from ..models import UsageAdjustmentRow, UsageRow
from .models import ChargeRow, RuleRow, RuleVersionRow, RunEventRow
from .rate import shown
from .rules import definition_of

_SORTS = Sorts(
    {"name": RuleRow.name, "kind": RuleRow.kind, "active": RuleRow.active, "createdAt": RuleRow.created_at},
    tiebreak=RuleRow.id,
    default="-active,name",
)
_TOLD_BY = {"event": "an event", "heartbeat": "the last heartbeat", "reconcile": "a reconciliation"}


async def rule_page(
    session: AsyncSession,
    caller: Caller,
    asked: ListQuery,
    cursors: Cursors,
    *,
    kind: RuleKind | None,
    active: bool | None,
) -> Answer[Page[BillingRule]]:
    statement = select(RuleRow).where(
        *_within(caller),
        *equal((RuleRow.kind, kind), (RuleRow.active, active)),
        *containing(asked.search, RuleRow.name),
    )
    found = await page(
        session,
        statement,
        _SORTS.parse(asked.sort),
        cursors=cursors,
        scope=f"rules {caller.tenant_id} {kind} {active} {asked.search!r}",
        cursor=asked.cursor,
        limit=asked.limit,
    )
    shown_rules = await versions_of(session, entities.rules(), *(entities.rule(row.id) for row in found.items))
    newest = await _newest(session, [row.id for row in found.items])
    items = [_rule(row, newest[row.id], shown_rules) for row in found.items]
    return Answer(data=Page(items=items, next_cursor=found.next_cursor), entities=shown_rules)


async def rule(session: AsyncSession, caller: Caller, rule_id: UUID) -> Answer[BillingRule]:
    row = await _visible(session, caller, rule_id)
    versions = await versions_of(session, entities.rule(rule_id))
    return Answer(data=_rule(row, (await _newest(session, [rule_id]))[rule_id], versions), entities=versions)


async def revisions(session: AsyncSession, caller: Caller, rule_id: UUID) -> Answer[list[RuleRevision]]:
    """Newest first, those that are still to come among them."""
    await _visible(session, caller, rule_id)
    all_of_it = select(RuleVersionRow).where(RuleVersionRow.rule_id == rule_id).order_by(RuleVersionRow.revision.desc())
    found = [
        RuleRevision(
            rule_id=row.rule_id,
            revision=row.revision,
            definition=definition_of(row.definition),
            valid_from=row.valid_from,
            created_at=row.created_at,
        )
        for row in await session.scalars(all_of_it)
    ]
    return Answer(data=found, entities=await versions_of(session, entities.rule(rule_id)))


async def run_history(session: AsyncSession, caller: Caller, run_id: UUID) -> Answer[RunHistory]:
    """A run's interval, its charges, and all that was told of it, in the order in which it was heard.

    Raises NotFound, also for a run of somebody whom the caller may not see.
    """
    run = (await session.scalars(select(UsageRow).where(UsageRow.run_id == run_id))).one_or_none()
    if run is None or not caller.sees(run.tenant_id, run.user_id):
        raise NotFound("There is no such run")
    events = await session.scalars(select(RunEventRow).where(RunEventRow.run_id == run_id))
    adjusted = await session.scalars(select(UsageAdjustmentRow).where(UsageAdjustmentRow.run_id == run_id))
    told = [RunTold(event_id=row.event_id, what=row.type, at=row.at, heard_at=row.heard_at) for row in events]
    told += [_adjusted(row) for row in adjusted]
    charged = select(ChargeRow).where(
        ChargeRow.device_id == run.device_id, ChargeRow.started_at >= func.date_trunc("second", run.started_at),
        ChargeRow.run_id == run_id,
    ).order_by(ChargeRow.started_at, ChargeRow.id)  # fmt: skip
    history = RunHistory(
        run_id=run_id,
        device_id=run.device_id,
        user_id=run.user_id,
        started_at=run.started_at,
        stopped_at=run.stopped_at,
        closed_by=run.closed_by,
        told=sorted(told, key=lambda one: (one.heard_at, one.at)),
        charges=[charge_of(row) for row in await session.scalars(charged)],
    )
    places = [entities.usage(run.device_id)] + ([entities.cost_of(run.user_id)] if run.user_id else [])
    return Answer(data=history, entities=await versions_of(session, *places))


def charge_of(row: Any) -> Charge:
    """Of a row of charges; what takes an invoiced one back says so."""
    return Charge(
        run_id=row.run_id,
        device_id=row.device_id,
        rule_id=row.rule_id,
        rule_revision=row.rule_revision,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        seconds=row.seconds,
        rate=row.rate,
        amount=shown(row.worth),
        included=row.included,
        description=f"Taken back: {row.description}" if row.seconds < 0 else row.description,
        correction=row.correction,
        currency=row.currency,
    )


def _adjusted(row: UsageAdjustmentRow) -> RunTold:
    before = f"the end by {_TOLD_BY[row.closed_by_before]}, {row.stopped_at_before.isoformat()}"
    after = row.stopped_at.isoformat() if row.stopped_at else "none: it goes on"
    return RunTold(event_id=None, what=f"corrected: {before}, to {after}", at=row.stopped_at or row.at, heard_at=row.at)


async def _visible(session: AsyncSession, caller: Caller, rule_id: UUID) -> RuleRow:
    row = (await session.scalars(select(RuleRow).where(RuleRow.id == rule_id, *_within(caller)))).one_or_none()
    if row is None:
        raise NotFound("There is no such billing rule", entities=await versions_of(session, entities.rule(rule_id)))
    return row


def _within(caller: Caller) -> list[ColumnElement[bool]]:
    if caller.data_scope == "all":
        return []
    return [or_(RuleRow.tenant_id.is_(None), RuleRow.tenant_id == UUID(caller.tenant_id))]


async def _newest(session: AsyncSession, rule_ids: list[UUID]) -> dict[UUID, RuleVersionRow]:
    newest = (
        select(RuleVersionRow)
        .where(RuleVersionRow.rule_id.in_(rule_ids))
        .ext(distinct_on(RuleVersionRow.rule_id))
        .order_by(RuleVersionRow.rule_id, RuleVersionRow.revision.desc())
    )
    return {row.rule_id: row for row in await session.scalars(newest)}


def _rule(row: RuleRow, newest: RuleVersionRow, versions: dict[str, int]) -> BillingRule:
    return BillingRule(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        kind=row.kind,
        currency=row.currency,
        revision=newest.revision,
        definition=definition_of(newest.definition),
        valid_from=newest.valid_from,
        active=row.active,
        created_at=row.created_at,
        version=versions[entities.rule(row.id)],
    )

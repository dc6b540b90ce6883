"""Billing rules: what running time beyond a plan's hours costs. Each use case works in the caller's transaction.

A rule is the platform's, as plans are. Its versions never change; a new one counts for runs and periods that begin
once it is in force.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.rating import RuleCreate, RuleDefinition, RulePatch, RuleRevise
from cloudphone_shared.database import announce, versions_of
from cloudphone_shared.errors import Conflict, Forbidden, Invalid, NotFound
from cloudphone_shared.events.billing import RuleChanged
from cloudphone_shared.http.preconditions import check_version
from cloudphone_shared.ids import uuid7

from .models import RuleRow, RuleVersionRow
from .rate import Tariffs
from .tariffs import Tariff, check_definition, tariff
from .terms import second

CLOCKS_APART = timedelta(minutes=5)
EARLIEST = timedelta(days=3660)


async def create_rule(
    session: AsyncSession, caller: Caller, new: RuleCreate, at: datetime
) -> tuple[UUID, dict[str, int]]:
    """Raises Invalid for a definition that makes no sense."""
    _sees_all_tenants(caller)
    check_definition(new.kind, new.definition)
    valid_from = new.valid_from or at
    if not at - EARLIEST <= valid_from <= at + EARLIEST:
        raise Invalid("validFrom must lie within ten years of now")
    rule = RuleRow(
        id=uuid7(), tenant_id=None, name=new.name, kind=new.kind, currency=new.currency, active=True, created_at=at
    )
    session.add(rule)
    await session.flush()
    _add_version(session, rule.id, 1, new.definition, valid_from, caller, at)
    event = RuleChanged(rule_id=rule.id, changed=["created"])
    return rule.id, await announce(session, event, entities.rule(rule.id), entities.rules())


async def revise_rule(
    session: AsyncSession, caller: Caller, rule_id: UUID, new: RuleRevise, *, expected: int | None, at: datetime
) -> None:
    """Raises Invalid for a definition that makes no sense, or one that was to count for what has begun already;
    Conflict for one that would begin before the rule's newest version."""
    rule = await _rule_to_change(session, caller, rule_id, expected)
    check_definition(rule.kind, new.definition)
    valid_from = new.valid_from or at
    if not at - CLOCKS_APART <= valid_from <= at + EARLIEST:
        raise Invalid("validFrom must not lie in the past: what has begun is rated as it was agreed")
    latest = await _latest(session, rule_id)
    if valid_from <= latest.valid_from:
        raise Conflict("The rule's newest version begins later", valid_from=latest.valid_from.isoformat())
    _add_version(session, rule_id, latest.revision + 1, new.definition, valid_from, caller, at)
    await announce(
        session, RuleChanged(rule_id=rule_id, changed=["definition"]), entities.rule(rule_id), entities.rules()
    )


async def change_rule(
    session: AsyncSession, caller: Caller, rule_id: UUID, patch: RulePatch, *, expected: int | None
) -> None:
    """One that is no longer active is put into no new plan; plans that have it keep it."""
    rule = await _rule_to_change(session, caller, rule_id, expected)
    wanted = {"name": patch.name, "active": patch.active}
    changed = [field for field, value in wanted.items() if value is not UNSET and value != getattr(rule, field)]
    for field in changed:
        setattr(rule, field, wanted[field])
    if changed:
        await announce(session, RuleChanged(rule_id=rule_id, changed=changed), entities.rule(rule_id), entities.rules())


async def check_usable(session: AsyncSession, rule_id: UUID, currency: str) -> None:
    """For who puts a rule into a plan. Raises Invalid for an unknown or inactive rule, or one in another currency."""
    rule = await session.get(RuleRow, rule_id)
    if rule is None or not rule.active:
        raise Invalid("There is no such billing rule in use")
    if rule.currency != currency:
        raise Invalid(f"The billing rule is in {rule.currency}, the plan in {currency}")


async def tariffs_of(session: AsyncSession, rule_ids: Collection[UUID]) -> Tariffs:
    """Every version of the rules, each rule's by when it begins."""
    found: defaultdict[UUID, list[Tariff]] = defaultdict(list)
    if not rule_ids:
        return found
    versions = (
        select(RuleVersionRow, RuleRow.kind)
        .join(RuleRow, RuleRow.id == RuleVersionRow.rule_id)
        .where(RuleRow.id.in_(rule_ids))
        .order_by(RuleVersionRow.valid_from)
    )
    for row, kind in await session.execute(versions):
        found[row.rule_id].append(
            tariff(row.rule_id, row.revision, second(row.valid_from), kind, definition_of(row.definition))
        )
    return found


def definition_of(stored: Any) -> RuleDefinition:
    return msgspec.convert(stored, RuleDefinition)


def _add_version(
    session: AsyncSession, rule_id: UUID, revision: int, definition: RuleDefinition, valid_from: datetime,
    caller: Caller, at: datetime,
) -> None:  # fmt: skip
    version = RuleVersionRow(
        rule_id=rule_id,
        revision=revision,
        definition=_plain(definition),
        valid_from=valid_from,
        actor=caller.id,
        created_at=at,
    )
    session.add(version)


def _plain(definition: RuleDefinition) -> Any:
    """With its rates as people write them: never 1E+2 or -0."""

    def plain(rate: Decimal) -> Decimal:
        return Decimal(f"{abs(rate):f}")

    replace = msgspec.structs.replace
    tiers = [replace(tier, rate=plain(tier.rate)) for tier in definition.tiers]
    windows = [replace(window, rate=plain(window.rate)) for window in definition.windows]
    rate = definition.rate if definition.rate is None else plain(definition.rate)
    return msgspec.to_builtins(RuleDefinition(rate=rate, tiers=tiers, windows=windows))


async def _rule_to_change(session: AsyncSession, caller: Caller, rule_id: UUID, expected: int | None) -> RuleRow:
    _sees_all_tenants(caller)
    rule = await session.get(RuleRow, rule_id, with_for_update=True)
    shown = await versions_of(session, entities.rule(rule_id))
    if rule is None:
        raise NotFound("There is no such billing rule", entities=shown)
    check_version(expected, shown[entities.rule(rule_id)])
    return rule


async def _latest(session: AsyncSession, rule_id: UUID) -> RuleVersionRow:
    newest = (
        select(RuleVersionRow)
        .where(RuleVersionRow.rule_id == rule_id)
        .order_by(RuleVersionRow.revision.desc())
        .limit(1)
    )
    return (await session.scalars(newest)).one()


def _sees_all_tenants(caller: Caller) -> None:
    if caller.data_scope != "all":
        raise Forbidden("Billing rules are the whole platform's")

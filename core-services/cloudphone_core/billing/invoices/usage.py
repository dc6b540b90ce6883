"""The usage that a customer is to be invoiced for, and what a line of it rests on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, any_, exists, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities

from ..models import CopyRow
from ..rating.charges import open_charges
from ..rating.models import ChargeRow, DueRow, RuleRow
from ..rating.rate import total
from .lines import Used


async def used_by(session: AsyncSession, user_id: UUID, until: datetime) -> list[Used]:
    """Usage that was over by `until` and is on no invoice, per device and rule. Nobody else invoices it before the
    transaction ends."""
    charges = await open_charges(session, user_id, until)
    groups: defaultdict[tuple[Any, ...], list[ChargeRow]] = defaultdict(list)
    for charge in charges:
        key = charge.device_id, charge.rule_id, charge.currency, charge.included, charge.correction
        groups[key].append(charge)
    devices = await _names_of_devices(session, {key[0] for key in groups})
    rules = await _names_of_rules(session, {key[1] for key in groups if key[1]})
    return [
        Used(
            device_id=device_id,
            rule_id=rule_id,
            currency=currency,
            description=_described(devices.get(device_id), rules.get(rule_id), included, correction),
            seconds=sum(charge.seconds for charge in group),
            worth=total(charge.worth for charge in group),
            corrects=correction,
            first=min(charge.started_at for charge in group),
            charge_ids=[charge.id for charge in group],
        )
        for (device_id, rule_id, currency, included, correction), group in groups.items()
    ]


def _described(device: str | None, rule: str | None, included: bool, correction: bool) -> str:
    what = "hours of the plan" if included else rule or "running time"
    return f"{device or 'Device'} · {what}" + (", corrected" if correction else "")


async def _names_of_devices(session: AsyncSession, device_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = {entities.device(device_id): device_id for device_id in device_ids}
    if not wanted:
        return {}
    among = any_(literal(list(wanted), ARRAY(Text)))
    rows = await session.execute(select(CopyRow.entity, CopyRow.name).where(CopyRow.entity == among))
    return {wanted[entity]: name for entity, name in rows}


async def _names_of_rules(session: AsyncSession, rule_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = list(rule_ids)
    if not wanted:
        return {}
    rows = await session.execute(select(RuleRow.id, RuleRow.name).where(RuleRow.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def waiting_for_usage(end: datetime) -> Sequence[ColumnElement[bool]]:
    """Of a charge: that its time was over by `end` and no invoice has it."""
    return ChargeRow.invoice_id.is_(None), ChargeRow.currency.is_not(None), ChargeRow.stopped_at <= end


def unrated(end: datetime) -> ColumnElement[bool]:
    """Whether there are runs of before `end` that are yet to be rated."""
    return exists().where(DueRow.since < end)

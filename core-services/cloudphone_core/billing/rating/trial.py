"""What a rule would have charged, before it is saved."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.rating import DeviceCost, RuleTrial, UserCost
from cloudphone_shared.errors import Invalid

from ..models import UsageRow
from ..periods import Interval, month_of
from .rate import Part, Run, Term, rate, rounded, total
from .tariffs import HOUR, check_definition, tariff
from .terms import second

_TRIAL = UUID(int=0)


async def try_rule(session: AsyncSession, trial: RuleTrial, now: datetime) -> UserCost:
    """The user's usage of the month, what runs now included, as if a plan had had the rule and its period had been
    that month. Raises Invalid for a definition that makes no sense, or a month to come."""
    check_definition(trial.kind, trial.definition)
    month = month_of(datetime.fromisoformat(f"{trial.month}-01").replace(tzinfo=UTC))
    if month.start > now:
        raise Invalid("month must not lie in the future")
    runs = await _runs(session, trial.user_id, month, now)
    version = tariff(_TRIAL, 1, 0, trial.kind, trial.definition)
    start = second(month.start)
    term = Term(start, second(month.end), _TRIAL, start, trial.currency, trial.included_hours * HOUR, _TRIAL)
    devices = [
        _device(device_id, rate(of_device, [term], {_TRIAL: [version]}), trial.currency)
        for device_id, of_device in runs.items()
    ]
    return UserCost(
        user_id=trial.user_id,
        period_start=month.start,
        period_end=month.end,
        as_of=now,
        totals={trial.currency: sum(device.amount for device in devices)},
        devices=sorted(devices, key=lambda device: (-device.amount, -device.seconds, device.device_id)),
    )


async def _runs(session: AsyncSession, user_id: UUID, month: Interval, now: datetime) -> dict[UUID, list[Run]]:
    """By device, cut to the month."""
    statement = select(UsageRow.device_id, UsageRow.run_id, UsageRow.started_at, UsageRow.stopped_at).where(
        UsageRow.user_id == user_id,
        UsageRow.started_at < month.end,
        or_(UsageRow.stopped_at.is_(None), UsageRow.stopped_at > month.start),
    )
    found: defaultdict[UUID, list[Run]] = defaultdict(list)
    for device_id, run_id, started_at, stopped_at in await session.execute(statement):
        start, end = max(started_at, month.start), min(stopped_at or now, month.end)
        if start < end:
            found[device_id].append(Run(run_id, second(start), second(end)))
    return found


def _device(device_id: UUID, parts: list[Part], currency: str) -> DeviceCost:
    return DeviceCost(
        device_id=device_id,
        seconds=sum(part.end - part.start for part in parts),
        included_seconds=sum(part.end - part.start for part in parts if part.included),
        amount=rounded(total(part.worth for part in parts) or Decimal(0)),
        currency=currency,
    )

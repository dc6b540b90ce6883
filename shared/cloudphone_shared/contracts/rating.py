"""What usage costs: rules, charges, budgets. Rates are decimal texts in minor units; amounts are rounded half-even,
once, where they become an invoice's line."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Currency, Name, Request

RuleKind = Literal["fixed", "per-use", "tiered", "time-based"]
Rate = Decimal
"""From 0 to 10^9, at most ten decimal places; the service checks it."""
ClockTime = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Tier(Request, frozen=True, kw_only=True):
    """`up_to_hours` of the period's running time beyond the plan's hours, at `rate` an hour; None: all that is beyond
    the tiers before."""

    up_to_hours: Annotated[int, Meta(ge=1, le=100_000)] | None
    rate: Rate


class TimeWindow(Request, frozen=True, kw_only=True):
    """From `start` until before `end` (UTC), over midnight where `end` is not later; `days`: Monday is 1, none: all."""

    start: ClockTime
    end: ClockTime
    rate: Rate
    days: list[Annotated[int, Meta(ge=1, le=7)]] = []


class RuleDefinition(Request, frozen=True, kw_only=True):
    """Per `kind`, for running time beyond the plan's hours. fixed: `rate` a period in which there was any; per-use:
    `rate` a run that had any, in the period it began in; tiered: `tiers`, by the hours of the period; time-based:
    `windows`, and `rate` an hour outside of them."""

    rate: Rate | None = None
    tiers: list[Tier] = []
    windows: list[TimeWindow] = []


class BillingRule(Contract, frozen=True, kw_only=True):
    """`revision` counts its immutable versions. Running time is rated by the one in force when the run began, or the
    subscription's period where that began later; `definition` and `valid_from` are the newest one's."""

    id: UUID
    tenant_id: UUID | None
    name: str
    kind: RuleKind
    currency: str
    revision: int
    definition: RuleDefinition
    valid_from: datetime
    active: bool
    created_at: datetime
    version: int


class RuleRevision(Contract, frozen=True, kw_only=True):
    """In force from `valid_from` until the next one."""

    rule_id: UUID
    revision: int
    definition: RuleDefinition
    valid_from: datetime
    created_at: datetime


class RuleCreate(Request, frozen=True, kw_only=True):
    """`valid_from` None: from now on."""

    name: Name
    kind: RuleKind
    currency: Currency
    definition: RuleDefinition
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None


class RuleRevise(Request, frozen=True, kw_only=True):
    """A new version: what ran before it began is rated as before."""

    definition: RuleDefinition
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None


class RulePatch(Request, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class RuleTrial(Request, frozen=True, kw_only=True):
    """What a definition would have charged a user's usage of a month, before it is saved."""

    kind: RuleKind
    currency: Currency
    definition: RuleDefinition
    user_id: UUID
    month: Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    included_hours: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Charge(Contract, frozen=True, kw_only=True):
    """What one part of a run, within one UTC day, costs by one rule's version. `included`: within the plan's hours, and
    free. `seconds` and `amount` negative: takes back what was invoiced before, `correction` marks that and what is
    right instead.

    `rate` is an hour's, of a fixed or per-use rule the whole price. `amount` in minor units shows twelve places of what
    is kept exactly; sums and lines are made of the exact figures.
    """

    run_id: UUID
    device_id: UUID
    rule_id: UUID | None
    rule_revision: int | None
    started_at: datetime
    stopped_at: datetime
    seconds: int
    rate: Decimal
    amount: Decimal
    included: bool
    description: str
    correction: bool = False
    currency: str | None = None


class DeviceCost(Contract, frozen=True, kw_only=True):
    device_id: UUID
    seconds: int
    included_seconds: int
    amount: int
    currency: str


class UserCost(Contract, frozen=True, kw_only=True):
    """What a user's usage costs so far in the calendar month, per currency, what runs now included up to `as_of`; each
    device's amount rounded as on the invoice. `unsubscribed_seconds` ran without a subscription and cost nothing."""

    user_id: UUID
    period_start: datetime
    period_end: datetime
    as_of: datetime
    totals: dict[str, int]
    devices: list[DeviceCost]
    unsubscribed_seconds: int = 0
    budget: "Budget | None" = None


class Budget(Contract, frozen=True, kw_only=True):
    """A month's limit on a user's usage: `warned_at` once `warn_percent` of it was used, `exceeded_at` once all was.
    `low_balance`: the user hears of it when the wallet falls below that."""

    user_id: UUID
    amount: int | None
    currency: str
    warn_percent: int
    low_balance: int | None
    warned_at: datetime | None
    exceeded_at: datetime | None
    updated_at: datetime


class BudgetSet(Request, frozen=True, kw_only=True):
    amount: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    currency: Currency = "USD"
    warn_percent: Annotated[int, Meta(ge=1, le=100)] = 80
    low_balance: Annotated[int, Meta(ge=0, le=10**12)] | None = None

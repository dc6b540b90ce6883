"""What the billing service answers and accepts: plans, orders, usage records, balances."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Currency, MinorUnits, Name, Request

OrderState = Literal[
    "pending", "provisioning", "paid", "completed", "cancelled", "expired",
    "compensating", "failed", "refunding", "refunded",
]  # fmt: skip

ORDER_SORTS = ("createdAt", "amount", "state", "userName")


class Plan(Contract, frozen=True, kw_only=True):
    """`price` in minor units per `period_days` days; `included_hours` of running time per period."""

    id: UUID
    name: str
    price: int
    currency: str
    period_days: int
    included_hours: int
    active: bool
    created_at: datetime
    version: int


class PlanCreate(Request, frozen=True, kw_only=True):
    name: Name
    price: MinorUnits
    currency: Currency = "USD"
    period_days: Annotated[int, Meta(ge=1, le=3660)] = 30
    included_hours: Annotated[int, Meta(ge=0, le=100_000)] = 0


class PlanPatch(Request, frozen=True, kw_only=True):
    """A plan's price never changes in place: orders keep the price they were made at."""

    name: Name | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class OrderEvent(Contract, frozen=True, kw_only=True):
    state: OrderState
    reason: str
    at: datetime


class Order(Contract, frozen=True, kw_only=True):
    """`user_name`, `user_email`, `device_name` are copies that follow their owners' events; `amount` in minor units."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    user_name: str | None
    user_email: str | None
    device_id: UUID | None
    device_name: str | None
    plan_id: UUID
    plan_name: str
    amount: int
    currency: str
    state: OrderState
    created_at: datetime
    updated_at: datetime
    history: list[OrderEvent]
    version: int


class OrderSummary(Contract, frozen=True, kw_only=True):
    """An order as a list's card shows it: only what `order:<id>` itself covers."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    user_name: str | None
    device_id: UUID | None
    device_name: str | None
    plan_id: UUID
    amount: int
    currency: str
    state: OrderState
    created_at: datetime
    version: int


class OrderCreate(Request, frozen=True, kw_only=True):
    """`user_id` defaults to the caller; the price is the plan's, never the request's."""

    plan_id: UUID
    user_id: UUID | None = None
    device_id: UUID | None = None


class OrderCancel(Request, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")] = "cancelled on request"


class OrderPatch(Request, frozen=True, kw_only=True):
    """An order's next state; only transitions of the table are accepted."""

    state: OrderState
    device_id: UUID | UnsetType = UNSET
    reason: Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")] = ""


class UsageDay(Contract, frozen=True, kw_only=True):
    """`seconds` run on the UTC day `day` (ISO date), closed intervals only."""

    day: str
    seconds: int


class DeviceUsage(Contract, frozen=True, kw_only=True):
    """Running time of a device in the billing period, a calendar month in UTC: `period_start` until before
    `period_end`.

    Only the part of a run within the period counts. `seconds` is of closed runs, rounded down; a reader adds the time
    since `open_since`, which is never before the period. `runs` counts those that touch the period; `last_run_at` is
    when the latest run began, in whatever period.
    """

    device_id: UUID
    period_start: datetime
    period_end: datetime
    seconds: int
    runs: int
    open_since: datetime | None
    last_run_at: datetime | None


class UserUsage(Contract, frozen=True, kw_only=True):
    """Running time of all of a user's devices in the period, per device, largest first."""

    user_id: UUID
    period_start: datetime
    period_end: datetime
    seconds: int
    devices: list[DeviceUsage]


class UsageRecord(Contract, frozen=True, kw_only=True):
    """One run of a device; `stopped_at` None while it runs, `user_id` None where the device was nobody's.

    The end is the one that was told, or the beginning of the device's next run if that was earlier.
    """

    id: UUID
    run_id: UUID
    tenant_id: UUID
    device_id: UUID
    user_id: UUID | None
    started_at: datetime
    stopped_at: datetime | None
    closed_by: Literal["event", "heartbeat", "reconcile"] | None


class UsageRecordCreate(Request, frozen=True, kw_only=True):
    """A run's interval, in times with an offset; recorded again with the same `run_id` and times it changes nothing.

    `closed_by` says how the end is known; an event corrects an end that a heartbeat or a reconciliation set.
    """

    run_id: UUID
    device_id: UUID
    user_id: UUID
    started_at: Annotated[datetime, Meta(tz=True)]
    stopped_at: Annotated[datetime, Meta(tz=True)] | None = None
    closed_by: Literal["event", "heartbeat", "reconcile"] = "event"


class Balance(Contract, frozen=True, kw_only=True):
    """`available` and `held` in minor units."""

    user_id: UUID
    currency: str
    available: int
    held: int
    updated_at: datetime


class BalanceSet(Request, frozen=True, kw_only=True):
    """An administrator's figures in minor units, in place of those that stand."""

    currency: Currency
    available: MinorUnits
    held: MinorUnits = 0


class Arrears(Contract, frozen=True, kw_only=True):
    """A user who owes: what runs is stopped, and every device is frozen until the arrears end."""

    user_id: UUID
    tenant_id: UUID
    reason: str
    since: datetime


class ArrearsSet(Request, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class BillingStatistics(Contract, frozen=True, kw_only=True):
    """`revenue_last_30_days`: paid and completed orders of the last 30 days, minor units per currency."""

    orders: int
    by_state: dict[str, int]
    revenue_last_30_days: dict[str, int]
    running_now: int

"""What the billing service answers and accepts: plans, orders, usage records, balances."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Currency, MinorUnits, Name, Request
from .purchase import CouponCode, PaymentMethod, Subscription

OrderState = Literal[
    "pending", "provisioning", "paid", "completed", "cancelled", "expired",
    "compensating", "failed", "refunding", "refunded",
]  # fmt: skip

OrderKind = Literal["purchase", "renewal", "plan-change"]

ORDER_SORTS = ("createdAt", "amount", "state", "userName")


class Plan(Contract, frozen=True, kw_only=True):
    """`price` in minor units per `period_days` days, taxes contained; `included_hours` of running time per period.

    `revision` is the plan's present version: price, period, hours, template and rule never change within one, and an
    order keeps the one it was made at. `rule_id`: what running time beyond the hours costs; None: nothing.
    `grace_days`: how long a subscription that could not be renewed keeps its device.
    """

    id: UUID
    name: str
    price: int
    currency: str
    period_days: int
    included_hours: int
    active: bool
    created_at: datetime
    version: int
    revision: int = 1
    template_id: UUID | None = None
    rule_id: UUID | None = None
    grace_days: int = 3


class PlanCreate(Request, frozen=True, kw_only=True):
    name: Name
    price: MinorUnits
    currency: Currency = "USD"
    period_days: Annotated[int, Meta(ge=1, le=3660)] = 30
    included_hours: Annotated[int, Meta(ge=0, le=100_000)] = 0
    template_id: UUID | None = None
    rule_id: UUID | None = None
    grace_days: Annotated[int, Meta(ge=0, le=90)] = 3


class PlanRevise(Request, frozen=True, kw_only=True):
    """A new version of the plan, for orders and renewals from now on; what is left out stays. The currency stays."""

    price: MinorUnits | UnsetType = UNSET
    period_days: Annotated[int, Meta(ge=1, le=3660)] | UnsetType = UNSET
    included_hours: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    template_id: UUID | None | UnsetType = UNSET
    rule_id: UUID | None | UnsetType = UNSET
    grace_days: Annotated[int, Meta(ge=0, le=90)] | UnsetType = UNSET


class PlanRevision(Contract, frozen=True, kw_only=True):
    plan_id: UUID
    revision: int
    price: int
    currency: str
    period_days: int
    included_hours: int
    template_id: UUID | None
    rule_id: UUID | None
    grace_days: int
    created_at: datetime


class PlanPatch(Request, frozen=True, kw_only=True):
    """A plan's price never changes in place: orders keep the price they were made at."""

    name: Name | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class OrderEvent(Contract, frozen=True, kw_only=True):
    """One step of an order; `says` tells it in a sentence."""

    state: OrderState
    reason: str
    at: datetime
    says: str = ""


class Order(Contract, frozen=True, kw_only=True):
    """`user_name`, `user_email`, `device_name` are copies that follow their owners' events; `amount` in minor units.

    `amount` = `list_price` - `discount` contains `tax`; `refunded` of it went back. `checkout_url`: where a card is
    to be presented, while that is wanted. `parent_id`: the order that a renewal or a change of plan goes on from.
    """

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
    kind: OrderKind = "purchase"
    plan_revision: int = 1
    list_price: int = 0
    discount: int = 0
    tax: int = 0
    refunded: int = 0
    coupon_code: str | None = None
    payment_method: PaymentMethod = "wallet"
    payment_id: UUID | None = None
    checkout_url: str | None = None
    parent_id: UUID | None = None
    saga_id: UUID | None = None
    subscription: Subscription | None = None


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
    """Buys a plan. `user_id` defaults to the caller; the price is the plan's, never the request's.

    With `device_id`, a device that the user holds already, none is allocated.
    """

    plan_id: UUID
    user_id: UUID | None = None
    device_id: UUID | None = None
    coupon_code: CouponCode | None = None
    payment_method: PaymentMethod = "wallet"
    auto_renew: bool = True


class OrderCancel(Request, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")] = "cancelled on request"


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
    """The user's wallet in the currency it was first used in: `available` and `held` in minor units. `others`: those in
    other currencies, never mixed with it."""

    user_id: UUID
    currency: str
    available: int
    held: int
    updated_at: datetime
    others: "list[WalletBalance]" = []


class WalletBalance(Contract, frozen=True, kw_only=True):
    currency: str
    available: int
    held: int
    updated_at: datetime


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

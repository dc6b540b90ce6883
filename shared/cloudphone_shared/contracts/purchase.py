"""How a plan is bought and kept: coupons, the purchase's saga, subscriptions, refunds, changes of plan."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Currency, Request

PaymentMethod = Literal["wallet", "card"]
SagaState = Literal["running", "waiting", "compensating", "completed", "compensated"]
SagaStepName = Literal[
    "VALIDATE_PLAN", "CREATE_ORDER", "HOLD_PAYMENT", "ALLOCATE_DEVICE", "CAPTURE_PAYMENT", "ACTIVATE_ORDER"
]
SubscriptionState = Literal["active", "grace", "ended"]
CouponCode = Annotated[str, Meta(min_length=3, max_length=40, pattern=r"^[A-Z0-9][A-Z0-9_-]*$")]


class Coupon(Contract, frozen=True, kw_only=True):
    """Takes `percent` (1–100) or `amount` (minor units of `currency`) off a purchase, never more than its price.

    `uses` counts purchases that hold or used it, at most `most_uses`; each user may use it `uses_per_user` times.
    """

    id: UUID
    code: str
    percent: int | None
    amount: int | None
    currency: str | None
    plan_id: UUID | None
    valid_from: datetime
    valid_until: datetime | None
    most_uses: int | None
    uses_per_user: int
    uses: int
    active: bool
    created_at: datetime
    version: int


class CouponCreate(Request, frozen=True, kw_only=True):
    """Exactly one of `percent` and `amount`; with `amount` its `currency`."""

    code: CouponCode
    percent: Annotated[int, Meta(ge=1, le=100)] | None = None
    amount: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    currency: Currency | None = None
    plan_id: UUID | None = None
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None
    most_uses: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    uses_per_user: Annotated[int, Meta(ge=1, le=1000)] = 1


class CouponPatch(Request, frozen=True, kw_only=True):
    active: bool | UnsetType = UNSET
    valid_until: Annotated[datetime, Meta(tz=True)] | None | UnsetType = UNSET


class CouponCheck(Contract, frozen=True, kw_only=True):
    """What a plan's present version would cost the caller with the coupon. Minor units, taxes contained."""

    code: str
    plan_id: UUID
    plan_revision: int
    list_price: int
    discount: int
    amount: int
    currency: str


class Subscription(Contract, frozen=True, kw_only=True):
    """What a completed order gives for a time: `period_start` until before `period_end`, then again if `auto_renew`.

    One whose renewal could not be paid stays in `grace` until `grace_until`, then it ends and the device is given
    back.
    """

    id: UUID
    order_id: UUID
    tenant_id: UUID
    user_id: UUID
    device_id: UUID | None
    plan_id: UUID
    plan_revision: int
    state: SubscriptionState
    period_start: datetime
    period_end: datetime
    auto_renew: bool
    grace_until: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    version: int


class SubscriptionPatch(Request, frozen=True, kw_only=True):
    auto_renew: bool


class PlanChange(Request, frozen=True, kw_only=True):
    """To another plan of the same currency and period, now: the rest of the period is charged or credited by the
    second."""

    plan_id: UUID


class PlanChangeQuote(Contract, frozen=True, kw_only=True):
    """`amount` positive: to be paid now; negative: what comes back to the wallet."""

    subscription_id: UUID
    plan_id: UUID
    amount: int
    currency: str
    at: datetime
    period_end: datetime


class OrderRefund(Request, frozen=True, kw_only=True):
    """`amount` None: all that is left of it, and the order ends; less: the order goes on. To where it was paid from."""

    amount: Annotated[int, Meta(ge=1, le=10**15)] | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")] = "refunded on request"


class SagaStep(Contract, frozen=True, kw_only=True):
    """One attempt of a step. `direction` back: its compensation. `ended_at` None while it is done."""

    number: int
    step: SagaStepName
    direction: Literal["forward", "back"]
    outcome: Literal["done", "waiting", "refused", "failed"] | None
    detail: str | None
    started_at: datetime
    ended_at: datetime | None


class Saga(Contract, frozen=True, kw_only=True):
    """`step` is the present one. `alarmed_at`: since when an operator is wanted, because a compensation or the way
    forward failed time and again; it goes on trying, at `wake_at`."""

    id: UUID
    kind: Literal["purchase-plan"]
    tenant_id: UUID
    user_id: UUID
    order_id: UUID | None
    state: SagaState
    step: SagaStepName
    attempts: int
    failure: str | None
    wake_at: datetime | None
    alarmed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class SagaFull(Contract, frozen=True, kw_only=True):
    saga: Saga
    timeline: list[SagaStep]


class SagaCancel(Request, frozen=True, kw_only=True):
    """Only before the payment is captured; what was done is undone."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")] = "cancelled by an operator"


class SagaTotals(Contract, frozen=True, kw_only=True):
    by_state: dict[SagaState, int]
    alarmed: int
    oldest_waiting_at: datetime | None

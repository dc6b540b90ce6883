"""What the billing service announces. Amounts in minor units."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from .envelope import Event


class PlanChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "plan.changed"
    public: ClassVar[bool] = True
    plan_id: UUID
    changed: list[str]


class OrderCreated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "order.created"
    public: ClassVar[bool] = True
    order_id: UUID
    user_id: UUID
    amount: int
    currency: str
    tenant_id: UUID | None = None


class OrderStateChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "order.state.changed"
    public: ClassVar[bool] = True
    order_id: UUID
    user_id: UUID
    old_state: str
    new_state: str
    reason: str
    tenant_id: UUID | None = None


class OrderDeviceBound(Event, frozen=True, kw_only=True):
    """The device that the order waited for is there; its state is as it was."""

    type: ClassVar[str] = "order.device.bound"
    public: ClassVar[bool] = True
    order_id: UUID
    user_id: UUID
    device_id: UUID
    tenant_id: UUID | None = None


class UsageRecorded(Event, frozen=True, kw_only=True):
    """`stopped_at` None: the run is open."""

    type: ClassVar[str] = "usage.recorded"
    public: ClassVar[bool] = True
    run_id: UUID
    device_id: UUID
    user_id: UUID
    started_at: datetime
    stopped_at: datetime | None
    tenant_id: UUID | None = None


class BalanceChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "balance.changed"
    public: ClassVar[bool] = True
    user_id: UUID
    currency: str
    available: int
    held: int
    tenant_id: UUID | None = None


class ArrearsBegan(Event, frozen=True, kw_only=True):
    """The user owes: what runs is to be stopped and frozen."""

    type: ClassVar[str] = "arrears.began"
    user_id: UUID
    tenant_id: UUID
    reason: str


class ArrearsEnded(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "arrears.ended"
    user_id: UUID
    tenant_id: UUID


class SubscriptionChanged(Event, frozen=True, kw_only=True):
    """`state` active, grace or ended; `reason` says what happened: begun, renewed, not paid, changed, cancelled, …"""

    type: ClassVar[str] = "subscription.changed"
    public: ClassVar[bool] = True
    subscription_id: UUID
    order_id: UUID
    user_id: UUID
    state: str
    reason: str
    period_end: datetime
    tenant_id: UUID | None = None


class CouponChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "coupon.changed"
    public: ClassVar[bool] = True
    coupon_id: UUID
    changed: list[str]
    tenant_id: UUID | None = None


class PaymentCompleted(Event, frozen=True, kw_only=True):
    """The money is ours, or the customer's own in the wallet (`purpose` recharge)."""

    type: ClassVar[str] = "payment.completed"
    public: ClassVar[bool] = True
    payment_id: UUID
    user_id: UUID
    purpose: str
    order_id: UUID | None
    method: str
    amount: int
    currency: str
    tenant_id: UUID | None = None


class PaymentChanged(Event, frozen=True, kw_only=True):
    """Any other step: held, refused, unknown, found."""

    type: ClassVar[str] = "payment.changed"
    public: ClassVar[bool] = True
    payment_id: UUID
    user_id: UUID
    order_id: UUID | None
    old_state: str
    new_state: str
    reason: str
    tenant_id: UUID | None = None


class RefundChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "refund.changed"
    public: ClassVar[bool] = True
    refund_id: UUID
    payment_id: UUID
    order_id: UUID | None
    user_id: UUID
    amount: int
    currency: str
    state: str
    tenant_id: UUID | None = None


class DisputeChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "dispute.changed"
    public: ClassVar[bool] = True
    dispute_id: UUID
    payment_id: UUID
    user_id: UUID
    amount: int
    currency: str
    state: str
    tenant_id: UUID | None = None


class BalanceLow(Event, frozen=True, kw_only=True):
    """The wallet fell below what the user wants to hear of; told once until it was above again."""

    type: ClassVar[str] = "balance.low"
    public: ClassVar[bool] = True
    user_id: UUID
    available: int
    threshold: int
    currency: str
    tenant_id: UUID | None = None


class AdjustmentChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "adjustment.changed"
    public: ClassVar[bool] = True
    adjustment_id: UUID
    user_id: UUID
    amount: int
    currency: str
    state: str
    tenant_id: UUID | None = None


class RuleChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "rule.changed"
    public: ClassVar[bool] = True
    rule_id: UUID
    changed: list[str]


class CostChanged(Event, frozen=True, kw_only=True):
    """A user's usage of the month that begins at `period_start` was rated anew, or the budget was set."""

    type: ClassVar[str] = "cost.changed"
    public: ClassVar[bool] = True
    user_id: UUID
    period_start: datetime
    tenant_id: UUID | None = None


class BudgetReached(Event, frozen=True, kw_only=True):
    """`percent` of the budget is used: the warning's, or 100."""

    type: ClassVar[str] = "budget.reached"
    public: ClassVar[bool] = True
    user_id: UUID
    percent: int
    spent: int
    amount: int
    currency: str
    tenant_id: UUID | None = None


class InvoiceIssued(Event, frozen=True, kw_only=True):
    """Also a credit note (`kind`)."""

    type: ClassVar[str] = "invoice.issued"
    public: ClassVar[bool] = True
    invoice_id: UUID
    number: str
    kind: str
    user_id: UUID
    total: int
    due: int
    currency: str
    due_at: datetime
    tenant_id: UUID | None = None


class InvoiceStateChanged(Event, frozen=True, kw_only=True):
    """Paid, overdue (the warning before the devices are frozen) or credited."""

    type: ClassVar[str] = "invoice.state.changed"
    public: ClassVar[bool] = True
    invoice_id: UUID
    number: str
    user_id: UUID
    old_state: str
    new_state: str
    due: int
    tenant_id: UUID | None = None


class BillToChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "bill-to.changed"
    public: ClassVar[bool] = True
    user_id: UUID
    tenant_id: UUID | None = None


class SagaAlarmed(Event, frozen=True, kw_only=True):
    """A step failed time and again; it is tried on, and an operator is wanted."""

    type: ClassVar[str] = "saga.alarmed"
    public: ClassVar[bool] = True
    saga_id: UUID
    order_id: UUID | None
    state: str
    step: str
    failure: str
    tenant_id: UUID | None = None

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

"""Devices and orders as screens show them: without the copies of others' names that their services keep for search.

A copy follows its owner by itself and bumps no version, so a screen that showed it could not be proven fresh. A name
that is shown comes from its owner.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Order, OrderEvent, OrderKind, OrderState, OrderSummary
from cloudphone_shared.contracts.device import (
    Device,
    DeviceState,
    DeviceSummary,
    NodeSummary,
    Provider,
    TemplateSummary,
)
from cloudphone_shared.contracts.purchase import PaymentMethod, Subscription


class ShownDevice(Contract, frozen=True, kw_only=True):
    """`last_error`: why the last work on it failed. `version` is the device's own, as `"v<version>"` in If-Match."""

    id: UUID
    tenant_id: UUID
    name: str
    owner_id: UUID | None
    state: DeviceState
    desired_state: DeviceState
    provider: Provider
    node: NodeSummary | None
    template: TemplateSummary
    tags: list[str]
    generation: int
    run_id: UUID | None
    adb_host: str | None
    adb_port: int | None
    last_error: str | None
    allocation_id: UUID | None
    created_at: datetime
    updated_at: datetime
    version: int

    @staticmethod
    def of(device: Device) -> "ShownDevice":
        return msgspec.convert(device, ShownDevice, from_attributes=True)


class ShownDeviceSummary(Contract, frozen=True, kw_only=True):
    id: UUID
    tenant_id: UUID
    name: str
    owner_id: UUID | None
    state: DeviceState
    node_id: UUID | None
    template_id: UUID
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    version: int

    @staticmethod
    def of(device: DeviceSummary) -> "ShownDeviceSummary":
        return msgspec.convert(device, ShownDeviceSummary, from_attributes=True)


class ShownOrder(Contract, frozen=True, kw_only=True):
    """`amount` in minor units: `list_price` - `discount`, `tax` contained; `refunded` of it went back. `version` is the
    order's own, as `"v<version>"` in If-Match."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    kind: OrderKind
    device_id: UUID | None
    plan_id: UUID
    plan_revision: int
    list_price: int
    discount: int
    tax: int
    amount: int
    refunded: int
    currency: str
    coupon_code: str | None
    payment_method: PaymentMethod
    payment_id: UUID | None
    parent_id: UUID | None
    saga_id: UUID | None
    state: OrderState
    created_at: datetime
    updated_at: datetime
    history: list[OrderEvent]
    subscription: Subscription | None
    version: int

    @staticmethod
    def of(order: Order) -> "ShownOrder":
        return msgspec.convert(order, ShownOrder, from_attributes=True)


class ShownOrderSummary(Contract, frozen=True, kw_only=True):
    """`amount` in minor units."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    device_id: UUID | None
    plan_id: UUID
    amount: int
    currency: str
    state: OrderState
    created_at: datetime
    version: int

    @staticmethod
    def of(order: OrderSummary) -> "ShownOrderSummary":
        return msgspec.convert(order, ShownOrderSummary, from_attributes=True)

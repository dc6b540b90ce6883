"""An order as its customer knows it."""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Order, OrderEvent, OrderState


class MyOrder(Contract, frozen=True, kw_only=True):
    """`amount` in minor units. `user_id` is the caller. `version` is the order's own, as `"v<version>"` in If-Match."""

    id: UUID
    user_id: UUID
    device_id: UUID | None
    plan_id: UUID
    amount: int
    currency: str
    state: OrderState
    created_at: datetime
    updated_at: datetime
    history: list[OrderEvent]
    version: int

    @staticmethod
    def of(order: Order) -> "MyOrder":
        return msgspec.convert(order, MyOrder, from_attributes=True)

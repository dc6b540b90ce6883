"""An order, and the subscription that it began, as its customer knows them."""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Order, OrderEvent, OrderKind, OrderState
from cloudphone_shared.contracts.purchase import PaymentMethod, Subscription, SubscriptionState


class MySubscription(Contract, frozen=True, kw_only=True):
    """`period_start` until before `period_end`, then again if `auto_renew`. One that could not be renewed keeps its
    device until `grace_until`. `version` is its own, as `"v<version>"` in If-Match."""

    id: UUID
    order_id: UUID
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

    @staticmethod
    def of(subscription: Subscription) -> "MySubscription":
        return msgspec.convert(subscription, MySubscription, from_attributes=True)


class MyOrder(Contract, frozen=True, kw_only=True):
    """`amount` in minor units: `list_price` - `discount`, `tax` contained; `refunded` of it went back. `user_id` is the
    caller. `checkout_url`: where to present the card, while that is wanted. `history` tells each step in a sentence.
    `version` is the order's own, as `"v<version>"` in If-Match."""

    id: UUID
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
    checkout_url: str | None
    parent_id: UUID | None
    state: OrderState
    created_at: datetime
    updated_at: datetime
    history: list[OrderEvent]
    subscription: MySubscription | None
    version: int

    @staticmethod
    def of(order: Order) -> "MyOrder":
        return msgspec.convert(order, MyOrder, from_attributes=True)

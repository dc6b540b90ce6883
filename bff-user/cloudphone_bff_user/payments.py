"""A payment as its customer knows it."""

from datetime import datetime
from uuid import UUID

import msgspec

from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.payment import Payment, PaymentEvent, PaymentPurpose, PaymentState, PaymentSummary
from cloudphone_shared.contracts.purchase import PaymentMethod


class MyPayment(Contract, frozen=True, kw_only=True):
    """`user_id` is the caller. `held`: set aside and not yet taken. `checkout_url`: where to pay, while that is wanted.
    `refunded`: of what was taken."""

    id: UUID
    user_id: UUID
    purpose: PaymentPurpose
    order_id: UUID | None
    method: PaymentMethod
    amount: int
    refunded: int
    currency: str
    state: PaymentState
    held: bool
    checkout_url: str | None
    failure: str | None
    created_at: datetime
    updated_at: datetime
    history: list[PaymentEvent]

    @staticmethod
    def of(payment: Payment) -> "MyPayment":
        return msgspec.convert(payment, MyPayment, from_attributes=True)


class MyPaymentSummary(Contract, frozen=True, kw_only=True):
    id: UUID
    purpose: PaymentPurpose
    order_id: UUID | None
    method: PaymentMethod
    amount: int
    refunded: int
    currency: str
    state: PaymentState
    created_at: datetime

    @staticmethod
    def of(payment: PaymentSummary) -> "MyPaymentSummary":
        return msgspec.convert(payment, MyPaymentSummary, from_attributes=True)

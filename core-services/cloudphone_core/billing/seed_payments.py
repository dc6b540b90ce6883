"""Purchases in the demo that were paid from the wallet."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from .payments.models import PaymentEventRow, PaymentRow

_WAY = (("pending", "opened"), ("processing", "held"), ("success", "captured"))
Rows = list[tuple[type[Any], list[dict[str, Any]]]]


class SeedPayment(msgspec.Struct, frozen=True, kw_only=True):
    """Captured at once, `amount` in minor units."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    order_id: UUID
    amount: int
    at: datetime
    currency: str = "USD"


def rows(payments: list[SeedPayment]) -> Rows:
    return [
        (PaymentRow, [_payment(payment) for payment in payments]),
        (PaymentEventRow, [event for payment in payments for event in _events(payment)]),
    ]


def _payment(payment: SeedPayment) -> dict[str, Any]:
    return {
        "id": payment.id,
        "tenant_id": payment.tenant_id,
        "user_id": payment.user_id,
        "purpose": "order",
        "order_id": payment.order_id,
        "method": "wallet",
        "amount": payment.amount,
        "tax": 0,
        "captured": payment.amount,
        "refunding": 0,
        "refunded": 0,
        "currency": payment.currency,
        "state": "success",
        "held": False,
        "attempt": 0,
        "looks": 0,
        "steps": len(_WAY),
        "created_at": payment.at,
        "updated_at": payment.at,
    }


def _events(payment: SeedPayment) -> Iterator[dict[str, Any]]:
    for number, (state, reason) in enumerate(_WAY, 1):
        yield {"payment_id": payment.id, "number": number, "state": state, "reason": reason, "at": payment.at}

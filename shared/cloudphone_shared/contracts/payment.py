"""Payments, by wallet or card, and what became of them. Amounts in minor units."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from .common import Contract, Currency, Request
from .purchase import PaymentMethod

PaymentState = Literal["pending", "processing", "success", "failed", "unknown"]
"""`processing`: held, or asked for and not yet answered; `unknown`: the provider gave no answer, reconciliation will
find out, nothing is charged again meanwhile."""
PaymentPurpose = Literal["order", "recharge", "invoice"]
RefundState = Literal["pending", "processing", "success", "failed", "unknown"]
DisputeState = Literal["open", "won", "lost"]


class PaymentEvent(Contract, frozen=True, kw_only=True):
    state: PaymentState
    reason: str
    at: datetime


class Refund(Contract, frozen=True, kw_only=True):
    id: UUID
    payment_id: UUID
    order_id: UUID | None
    amount: int
    currency: str
    state: RefundState
    reason: str
    requested_by: str
    created_at: datetime
    updated_at: datetime


class Payment(Contract, frozen=True, kw_only=True):
    """`held`: the money is set aside and not yet taken. `checkout_url`: where the customer pays, while that is
    wanted. `refunded`: of what was taken, never more than `amount`."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    purpose: PaymentPurpose
    order_id: UUID | None
    method: PaymentMethod
    amount: int
    refunded: int
    currency: str
    state: PaymentState
    held: bool
    provider: str | None
    provider_reference: str | None
    checkout_url: str | None
    failure: str | None
    created_at: datetime
    updated_at: datetime
    history: list[PaymentEvent]
    version: int


class PaymentSummary(Contract, frozen=True, kw_only=True):
    id: UUID
    tenant_id: UUID
    user_id: UUID
    purpose: PaymentPurpose
    order_id: UUID | None
    method: PaymentMethod
    amount: int
    refunded: int
    currency: str
    state: PaymentState
    created_at: datetime


class RechargeCreate(Request, frozen=True, kw_only=True):
    """Money for the wallet, paid by card on the provider's page (`checkoutUrl` of the answer)."""

    amount: Annotated[int, Meta(ge=100, le=10**9)]
    currency: Currency = "USD"
    user_id: UUID | None = None


class Dispute(Contract, frozen=True, kw_only=True):
    """A customer told the bank that a charge was wrong: the money is away while it is open, and for good once lost."""

    id: UUID
    payment_id: UUID
    tenant_id: UUID
    user_id: UUID
    amount: int
    currency: str
    state: DisputeState
    reason: str
    opened_at: datetime
    closed_at: datetime | None


class PaymentDifference(Contract, frozen=True, kw_only=True):
    """Where the provider's books and ours differ, and what was done about it."""

    kind: Literal["missing-here", "missing-there", "amount", "state"]
    provider_reference: str | None
    payment_id: UUID | None
    ours: str | None
    theirs: str | None
    repaired: bool


class PaymentReconciliation(Contract, frozen=True, kw_only=True):
    """One day (UTC) of the provider's books against ours, per currency."""

    id: UUID
    provider: str
    day: date
    started_at: datetime
    finished_at: datetime | None
    compared: int
    resolved_unknown: int
    captured: dict[str, int]
    refunded: dict[str, int]
    differences: list[PaymentDifference]
    error: str | None = None


class ReconcilePayments(Request, frozen=True, kw_only=True):
    """`day` None: yesterday (UTC)."""

    day: date | None = None


class WebhookDelivery(Contract, frozen=True, kw_only=True):
    """What a provider told us: `applied`, `repeated`, `ignored` (nothing we keep), or `refused` (forged, stale)."""

    id: int
    provider: str
    event_id: str | None
    type: str | None
    outcome: Literal["applied", "repeated", "ignored", "refused"]
    detail: str | None
    received_at: datetime
    body: dict[str, Any] | None = None

"""The tables of payments. Amounts in minor units."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.payment import DisputeState, PaymentPurpose, PaymentState, RefundState
from cloudphone_shared.contracts.purchase import PaymentMethod

from ..models import SCHEMA, Base, Moment

Asked = Literal["checkout", "capture", "void"]


class PaymentRow(Base):
    """Money wanted of a customer.

    `asked`: what the provider is being asked, committed before it is, and kept until the answer is known; `attempt`
    counts these, and is part of the key that keeps a repeated request from a second effect. `held` until `expires_at`;
    an unpaid checkout is open as long. `given_up_at`: nobody wants the money any more, so what is authorised later is
    voided. `refunding`: of `captured`, what refunds under way take. `next_look_at`: when it is looked after; None once
    nothing can change by itself. `steps`: how many events it has. `booked_at`: when the provider entered the capture in
    its books.
    """

    __tablename__ = "payments"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    purpose: Mapped[PaymentPurpose] = mapped_column(String(10))
    order_id: Mapped[UUID | None]
    method: Mapped[PaymentMethod] = mapped_column(String(10))
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    captured: Mapped[int] = mapped_column(BigInteger)
    refunding: Mapped[int] = mapped_column(BigInteger)
    refunded: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[PaymentState] = mapped_column(String(10))
    held: Mapped[bool]
    asked: Mapped[Asked | None] = mapped_column(String(10))
    asked_at: Mapped[datetime | None] = mapped_column(Moment)
    attempt: Mapped[int]
    provider: Mapped[str | None]
    provider_reference: Mapped[str | None]
    checkout_id: Mapped[str | None]
    checkout_url: Mapped[str | None]
    failure: Mapped[str | None]
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    given_up_at: Mapped[datetime | None] = mapped_column(Moment)
    next_look_at: Mapped[datetime | None] = mapped_column(Moment)
    looks: Mapped[int]
    steps: Mapped[int]
    booked_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount >= 0 AND tax >= 0 AND tax <= amount", name="amounts"),
        CheckConstraint("captured IN (0, amount) AND (captured = 0 OR state = 'success')", name="captured_whole"),
        CheckConstraint(
            "refunding >= 0 AND refunded >= 0 AND refunding + refunded <= captured", name="refunds_within_captures"
        ),
        CheckConstraint("state IN ('pending', 'processing', 'success', 'failed', 'unknown')", name="known_state"),
        CheckConstraint("(asked IS NULL) = (asked_at IS NULL)", name="asked_at_a_time"),
        CheckConstraint("(purpose = 'order') = (order_id IS NOT NULL)", name="of_an_order"),
        Index(None, "created_at", "id"),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "order_id"),
        Index("uq_payments_provider_reference", "provider", "provider_reference", unique=True),
        Index("uq_payments_checkout_id", "provider", "checkout_id", unique=True),
        Index("ix_payments_to_look_after", "next_look_at", postgresql_where=text("next_look_at IS NOT NULL")),
        Index("ix_payments_booked_at", "booked_at", postgresql_where=text("booked_at IS NOT NULL")),
        {"schema": SCHEMA},
    )


class PaymentEventRow(Base):
    """One step of a payment."""

    __tablename__ = "payment_events"

    payment_id: Mapped[UUID] = mapped_column(ForeignKey(PaymentRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[PaymentState] = mapped_column(String(10))
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class RefundRow(Base):
    """Money given back of a payment; `tax` is the part of it that was tax. `asked_at`, `attempt`, `next_look_at` as a
    payment's."""

    __tablename__ = "refunds"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(PaymentRow.id), index=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    order_id: Mapped[UUID | None] = mapped_column(index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[RefundState] = mapped_column(String(10))
    reason: Mapped[str]
    requested_by: Mapped[str]
    provider_reference: Mapped[str | None]
    failure: Mapped[str | None]
    asked_at: Mapped[datetime | None] = mapped_column(Moment)
    attempt: Mapped[int]
    next_look_at: Mapped[datetime | None] = mapped_column(Moment)
    looks: Mapped[int]
    booked_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount > 0 AND tax >= 0 AND tax <= amount", name="amounts"),
        CheckConstraint("state IN ('pending', 'processing', 'success', 'failed', 'unknown')", name="known_state"),
        Index("uq_refunds_provider_reference", "provider_reference", unique=True),
        Index("ix_refunds_to_look_after", "next_look_at", postgresql_where=text("next_look_at IS NOT NULL")),
        Index("ix_refunds_booked_at", "booked_at", postgresql_where=text("booked_at IS NOT NULL")),
        {"schema": SCHEMA},
    )


class DisputeRow(Base):
    __tablename__ = "disputes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(PaymentRow.id), index=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[DisputeState] = mapped_column(String(10))
    reason: Mapped[str]
    provider_reference: Mapped[str] = mapped_column(unique=True)
    opened_at: Mapped[datetime] = mapped_column(Moment)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("state IN ('open', 'won', 'lost')", name="known_state"),
        Index(None, "tenant_id", "opened_at", "id"),
        {"schema": SCHEMA},
    )


class WebhookDeliveryRow(Base):
    """What the provider, or somebody in its name, sent us. Only what was signed keeps its body."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    provider: Mapped[str]
    event_id: Mapped[str | None]
    type: Mapped[str | None]
    outcome: Mapped[Literal["applied", "repeated", "ignored", "refused"]] = mapped_column(String(10))
    detail: Mapped[str | None]
    body: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    received_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("outcome IN ('applied', 'repeated', 'ignored', 'refused')", name="known_outcome"),
        Index(
            "uq_webhook_deliveries_event_id",
            "provider",
            "event_id",
            unique=True,
            postgresql_where=text("outcome IN ('applied', 'ignored')"),
        ),
        Index(None, "outcome", "id"),
        {"schema": SCHEMA},
    )


class PaymentReconciliationRow(Base):
    """One comparison of a day's books. `differences` are the contract's, as JSON."""

    __tablename__ = "payment_reconciliations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    day: Mapped[date]
    started_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    compared: Mapped[int]
    resolved_unknown: Mapped[int]
    captured: Mapped[dict[str, Any]] = mapped_column(JSONB)
    refunded: Mapped[dict[str, Any]] = mapped_column(JSONB)
    differences: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    error: Mapped[str | None]

    __table_args__ = (Index(None, "provider", "day", "started_at"), {"schema": SCHEMA})

"""The tables of orders and of the subscriptions that they begin."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.billing import OrderKind, OrderState
from cloudphone_shared.contracts.purchase import PaymentMethod, SubscriptionState

from ..models import SCHEMA, Base, Moment
from ..plans.models import PlanVersionRow


class OrderRow(Base):
    """The fold of its events, beside the names: `…_version` is the owner's version that a copy was taken at.

    `amount` = `list_price` - `discount` contains `tax`; `refunded` of it went back, by refund or by a change to a
    cheaper plan. `credit`: what this change of plan gave back. `last_number` is its last event's.
    """

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    user_name: Mapped[str | None]
    user_email: Mapped[str | None]
    user_version: Mapped[int] = mapped_column(BigInteger)
    device_id: Mapped[UUID | None]
    device_name: Mapped[str | None]
    device_version: Mapped[int] = mapped_column(BigInteger)
    plan_id: Mapped[UUID]
    plan_revision: Mapped[int]
    kind: Mapped[OrderKind] = mapped_column(String(20))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.orders.id"))
    list_price: Mapped[int] = mapped_column(BigInteger)
    discount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    credit: Mapped[int] = mapped_column(BigInteger)
    refunded: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    coupon_code: Mapped[str | None]
    payment_method: Mapped[PaymentMethod] = mapped_column(String(10))
    payment_id: Mapped[UUID | None]
    saga_id: Mapped[UUID | None]
    auto_renew: Mapped[bool]
    state: Mapped[OrderState] = mapped_column(String(20))
    last_number: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        ForeignKeyConstraint(("plan_id", "plan_revision"), (PlanVersionRow.plan_id, PlanVersionRow.revision)),
        CheckConstraint("amount >= 0", name="amount_not_negative"),
        CheckConstraint("amount = list_price - discount AND discount >= 0", name="amount_is_the_price"),
        CheckConstraint("tax BETWEEN 0 AND amount", name="tax_within"),
        CheckConstraint("refunded BETWEEN 0 AND amount", name="refunded_within"),
        CheckConstraint("credit >= 0", name="credit_not_negative"),
        Index(None, "created_at", "id"),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "device_id"),
        Index(None, "plan_id"),
        Index(None, "parent_id"),
        Index(None, "state", "created_at", "id"),
        {"schema": SCHEMA},
    )


class OrderEventRow(Base):
    """One fact of an order: `data` is what its `type` at its `version` says (see `facts.py`), `state` what the order
    is after it, `actor` whose doing it was. The database refuses to change or delete one."""

    __tablename__ = "order_events"

    order_id: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    version: Mapped[int]
    data: Mapped[dict[str, Any]]
    state: Mapped[OrderState] = mapped_column(String(20))
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class OrderRefundRow(Base):
    """Money asked back of an order, until it is known to have gone. `whole`: the order ends with it."""

    __tablename__ = "order_refunds"

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    whole: Mapped[bool]
    requested_at: Mapped[datetime] = mapped_column(Moment)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount >= 1", name="something"),
        Index("ix_order_refunds_open", "requested_at", postgresql_where=text("settled_at IS NULL")),
        {"schema": SCHEMA},
    )


class SubscriptionRow(Base):
    """What an order gives for a time. `order_id` is the purchase, `paid_by` the order that paid the present period.

    `worth`: what the whole present period counts as having cost, for a change of plan. `try_at`: when a renewal that
    could not be paid is tried again, at the latest.
    """

    __tablename__ = "subscriptions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id), unique=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    device_id: Mapped[UUID | None]
    plan_id: Mapped[UUID]
    plan_revision: Mapped[int]
    state: Mapped[SubscriptionState] = mapped_column(String(10))
    period_start: Mapped[datetime] = mapped_column(Moment)
    period_end: Mapped[datetime] = mapped_column(Moment)
    paid_by: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id))
    worth: Mapped[int] = mapped_column(BigInteger)
    auto_renew: Mapped[bool]
    grace_until: Mapped[datetime | None] = mapped_column(Moment)
    try_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    end_reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        ForeignKeyConstraint(("plan_id", "plan_revision"), (PlanVersionRow.plan_id, PlanVersionRow.revision)),
        CheckConstraint("state IN ('active', 'grace', 'ended')", name="known_state"),
        CheckConstraint("period_end > period_start", name="lasts"),
        CheckConstraint("worth >= 0", name="worth_not_negative"),
        CheckConstraint("(state = 'grace') = (grace_until IS NOT NULL AND try_at IS NOT NULL)", name="grace_ends"),
        CheckConstraint(
            "(state = 'ended') = (ended_at IS NOT NULL AND end_reason IS NOT NULL)", name="ended_for_a_reason"
        ),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index("ix_subscriptions_due", "period_end", postgresql_where=text("state = 'active'")),
        Index("ix_subscriptions_grace", "try_at", postgresql_where=text("state = 'grace'")),
        {"schema": SCHEMA},
    )


class SubscriptionTermRow(Base):
    """From when until before when a subscription stood at a plan's version, and the order that paid for it.

    Terms of a subscription never overlap: so a period is renewed once, whoever tries.
    """

    __tablename__ = "subscription_terms"

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey(SubscriptionRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id), unique=True)
    plan_id: Mapped[UUID]
    plan_revision: Mapped[int]
    starts_at: Mapped[datetime] = mapped_column(Moment)
    ends_at: Mapped[datetime] = mapped_column(Moment)
    term: Mapped[Range[datetime]] = mapped_column(TSTZRANGE, Computed("tstzrange(starts_at, ends_at)", persisted=True))

    __table_args__ = (
        ForeignKeyConstraint(("plan_id", "plan_revision"), (PlanVersionRow.plan_id, PlanVersionRow.revision)),
        CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
        ExcludeConstraint(("subscription_id", "="), ("term", "&&"), name="terms_never_overlap", using="gist"),
        {"schema": SCHEMA},
    )


class QuotaReleaseRow(Base):
    """A reservation at the user service that is to be released; gone once it was."""

    __tablename__ = "quota_releases"

    reservation_id: Mapped[UUID] = mapped_column(primary_key=True)
    due_at: Mapped[datetime] = mapped_column(Moment, index=True)
    attempts: Mapped[int]
    failure: Mapped[str | None]

    __table_args__ = ({"schema": SCHEMA},)

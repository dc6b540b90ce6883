"""The tables of rating: rules, charges, budgets, and what runs rest on."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Numeric, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.rating import RuleKind

from ..models import SCHEMA, Base, Moment


class RuleRow(Base):
    """What running time beyond a plan's hours costs; its prices are its versions'."""

    __tablename__ = "billing_rules"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    kind: Mapped[RuleKind] = mapped_column(String(10))
    currency: Mapped[str] = mapped_column(String(3))
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("kind IN ('fixed', 'per-use', 'tiered', 'time-based')", name="known_kind"),
        Index(None, "created_at", "id"),
        {"schema": SCHEMA},
    )


class RuleVersionRow(Base):
    """In force from `valid_from` until the next one of the rule. The database refuses to change it."""

    __tablename__ = "billing_rule_versions"

    rule_id: Mapped[UUID] = mapped_column(ForeignKey(RuleRow.id), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    valid_from: Mapped[datetime] = mapped_column(Moment)
    actor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index(None, "rule_id", "valid_from", unique=True), {"schema": SCHEMA})


class DueRow(Base):
    """What a user ran on a device from `since` on is to be rated anew: written by triggers, beside what changed."""

    __tablename__ = "rating_due"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(index=True)
    device_id: Mapped[UUID]
    since: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class ChargeRow(Base):
    """One part of a run at one rate, within one day. `worth` is exact: 3,600 times the amount in minor units, since an
    hour's rate for a second has no end as a decimal.

    Once on an invoice it never changes: a late fact takes it back by a row with `seconds` and `worth` negated, and
    charges anew what is right; both are marked as a `correction`. `currency` None: no subscription, never invoiced.
    """

    __tablename__ = "charges"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    device_id: Mapped[UUID]
    run_id: Mapped[UUID]
    subscription_id: Mapped[UUID | None]
    period_start: Mapped[datetime | None] = mapped_column(Moment)
    started_at: Mapped[datetime] = mapped_column(Moment)
    stopped_at: Mapped[datetime] = mapped_column(Moment)
    seconds: Mapped[int]
    rule_id: Mapped[UUID | None]
    rule_revision: Mapped[int | None]
    rate: Mapped[Decimal] = mapped_column(Numeric)
    worth: Mapped[Decimal] = mapped_column(Numeric)
    currency: Mapped[str | None] = mapped_column(String(3))
    included: Mapped[bool]
    description: Mapped[str]
    correction: Mapped[bool]
    invoice_id: Mapped[UUID | None]
    line_number: Mapped[int | None]

    __table_args__ = (
        CheckConstraint("stopped_at > started_at", name="some_time"),
        CheckConstraint("abs(seconds) = extract(epoch FROM stopped_at - started_at)", name="whole_seconds"),
        CheckConstraint("(invoice_id IS NULL) = (line_number IS NULL)", name="on_a_line"),
        CheckConstraint("currency IS NOT NULL OR (worth = 0 AND invoice_id IS NULL)", name="has_currency"),
        Index(None, "device_id", "started_at"),
        Index(None, "user_id", "started_at"),
        Index(None, "started_at", "tenant_id"),
        Index(
            "ix_charges_open",
            "user_id",
            "stopped_at",
            postgresql_where=text("invoice_id IS NULL AND currency IS NOT NULL"),
        ),
        Index(
            "ix_charges_invoiced",
            "invoice_id",
            "line_number",
            "started_at",
            "id",
            postgresql_where=text("invoice_id IS NOT NULL"),
        ),
        Index(
            "uq_charges_open",
            "run_id",
            "started_at",
            text("sign(seconds)"),
            unique=True,
            postgresql_where=text("invoice_id IS NULL"),
        ),
        {"schema": SCHEMA},
    )


class BudgetRow(Base):
    """`month` is the one that `warned_at` and `exceeded_at` speak of; `low_at` since when the wallet is low."""

    __tablename__ = "budgets"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    warn_percent: Mapped[int]
    low_balance: Mapped[int | None] = mapped_column(BigInteger)
    month: Mapped[datetime] = mapped_column(Moment)
    warned_at: Mapped[datetime | None] = mapped_column(Moment)
    exceeded_at: Mapped[datetime | None] = mapped_column(Moment)
    low_at: Mapped[datetime | None] = mapped_column(Moment)
    checked_at: Mapped[datetime | None] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount > 0 AND low_balance >= 0 AND warn_percent BETWEEN 1 AND 100", name="sensible"),
        Index("ix_budgets_unchecked", text("checked_at NULLS FIRST"), postgresql_where=text("amount IS NOT NULL")),
        Index("ix_budgets_low_balance", "user_id", postgresql_where=text("low_balance IS NOT NULL")),
        {"schema": SCHEMA},
    )


class RunEventRow(Base):
    """One thing that was told of a run; `event_id` None: asked for, not announced."""

    __tablename__ = "run_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(index=True)
    event_id: Mapped[UUID | None]
    type: Mapped[str]
    at: Mapped[datetime] = mapped_column(Moment)
    heard_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)

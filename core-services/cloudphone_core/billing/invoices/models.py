"""The tables of invoices. What was issued stays: triggers refuse to change it."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.invoice import InvoiceKind, InvoiceState, LineKind

from ..models import SCHEMA, Base, Moment


class TaxRateRow(Base):
    """In force from `valid_from` (UTC) until the country's next one."""

    __tablename__ = "tax_rates"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(String(2))
    name: Mapped[str]
    percent: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    valid_from: Mapped[date]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("percent >= 0 AND percent <= 100", name="a_share"),
        UniqueConstraint("country", "valid_from", name="uq_tax_rates_country_valid_from"),
        {"schema": SCHEMA},
    )


class BillToRow(Base):
    """To whom a user's invoices go from `set_at` on, until the user's next row."""

    __tablename__ = "bill_tos"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    name: Mapped[str]
    address: Mapped[str | None]
    country: Mapped[str | None] = mapped_column(String(2))
    tax_number: Mapped[str | None]
    set_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index(None, "user_id", "set_at", "id"), {"schema": SCHEMA})


class InvoiceTermsRow(Base):
    """A tenant's, for the invoices issued from now on."""

    __tablename__ = "invoice_terms"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    days_to_pay: Mapped[int]
    days_to_freeze: Mapped[int]
    seller: Mapped[str]
    seller_tax_number: Mapped[str | None]
    seller_country: Mapped[str | None] = mapped_column(String(2))
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("days_to_pay >= 0 AND days_to_freeze >= 0", name="not_negative"),
        {"schema": SCHEMA},
    )


class InvoiceNumberRow(Base):
    """The last number given, per tenant, kind and year (UTC): its lock makes issuing transactions take turns."""

    __tablename__ = "invoice_numbers"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[InvoiceKind] = mapped_column(String(11), primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int]

    __table_args__ = ({"schema": SCHEMA},)


class InvoiceRow(Base):
    """Written after its lines, in their transaction; then only `state`, `paid`, `credited`, `payments` and
    `frozen_at` move.

    `payments` counts what was taken from the wallet, `freeze_at` is when devices are frozen for what is still due and
    `frozen_at` when they were. `month`: the one that the monthly run issued it for.
    """

    __tablename__ = "invoices"
    # What the database generates comes back with each write: nothing is loaded lazily.
    __mapper_args__ = {"eager_defaults": True}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    kind: Mapped[InvoiceKind] = mapped_column(String(11))
    year: Mapped[int]
    sequence: Mapped[int]
    number: Mapped[str] = mapped_column(
        Computed(
            "CASE kind WHEN 'invoice' THEN 'INV-' ELSE 'CN-' END || year || '-'"
            " || lpad(sequence::text, greatest(6, length(sequence::text)), '0')",
            persisted=True,
        )
    )
    state: Mapped[InvoiceState] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    line_count: Mapped[int]
    total: Mapped[int]
    tax: Mapped[int]
    paid: Mapped[int]
    credited: Mapped[int]
    due: Mapped[int] = mapped_column(BigInteger, Computed("total - paid - credited", persisted=True))
    payments: Mapped[int]
    period_start: Mapped[datetime] = mapped_column(Moment)
    period_end: Mapped[datetime] = mapped_column(Moment)
    issued_at: Mapped[datetime] = mapped_column(Moment)
    due_at: Mapped[datetime] = mapped_column(Moment)
    freeze_at: Mapped[datetime] = mapped_column(Moment)
    frozen_at: Mapped[datetime | None] = mapped_column(Moment)
    bill_to: Mapped[dict[str, Any]] = mapped_column(JSONB)
    seller: Mapped[dict[str, Any]] = mapped_column(JSONB)
    corrects: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"))
    reason: Mapped[str | None]
    month: Mapped[date | None]
    actor: Mapped[str]

    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "year", "sequence", name="uq_invoices_number"),
        CheckConstraint("kind IN ('invoice', 'credit-note')", name="known_kind"),
        CheckConstraint("state IN ('open', 'paid', 'overdue', 'credited')", name="known_state"),
        CheckConstraint(
            "total - paid - credited >= 0 AND (total - paid - credited > 0) = (state IN ('open', 'overdue'))",
            name="due_while_unpaid",
        ),
        CheckConstraint(
            "credited >= 0 AND credited <= greatest(total, 0)"
            " AND (state = 'credited') = (total > 0 AND credited = total)",
            name="credited_within_total",
        ),
        CheckConstraint(
            "(kind = 'credit-note') = (corrects IS NOT NULL)"
            " AND (kind = 'invoice' OR (total <= 0 AND paid = total AND credited = 0))",
            name="credit_note_is_settled",
        ),
        Index(None, "user_id", "issued_at", "id"),
        Index(None, "tenant_id", "issued_at", "id"),
        Index(None, "issued_at", "id"),
        Index(None, "corrects", postgresql_where=text("corrects IS NOT NULL")),
        Index("ix_invoices_unpaid", "due_at", "id", postgresql_where=text("state IN ('open', 'overdue')")),
        Index(
            "ix_invoices_once_a_month",
            "user_id",
            "currency",
            "month",
            unique=True,
            postgresql_where=text("month IS NOT NULL"),
        ),
        {"schema": SCHEMA},
    )


class InvoiceLineRow(Base):
    """`corrects_line`: the number of the line of the corrected invoice that a credit note's line takes back.

    A usage line's charges are those that carry the invoice's id with its device, rule and kind.
    """

    __tablename__ = "invoice_lines"

    invoice_id: Mapped[UUID] = mapped_column(
        ForeignKey(InvoiceRow.id, deferrable=True, initially="DEFERRED"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[LineKind] = mapped_column(String(10))
    description: Mapped[str]
    device_id: Mapped[UUID | None]
    order_id: Mapped[UUID | None]
    refund_id: Mapped[UUID | None]
    rule_id: Mapped[UUID | None]
    corrects_line: Mapped[int | None]
    quantity: Mapped[Decimal]
    unit: Mapped[str]
    amount: Mapped[int]
    tax_percent: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    tax: Mapped[int]

    __table_args__ = (
        CheckConstraint("kind IN ('plan', 'usage', 'adjustment', 'discount', 'credit')", name="known_kind"),
        CheckConstraint("abs(tax) <= abs(amount)", name="tax_within_amount"),
        Index("ix_invoice_lines_order_once", "order_id", unique=True, postgresql_where=text("kind = 'plan'")),
        Index("ix_invoice_lines_refund_once", "refund_id", unique=True, postgresql_where=text("refund_id IS NOT NULL")),
        {"schema": SCHEMA},
    )


class InvoiceRunRow(Base):
    """The issue of a month's invoices; `finished_at` once nobody was left."""

    __tablename__ = "invoice_runs"

    month: Mapped[date] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)

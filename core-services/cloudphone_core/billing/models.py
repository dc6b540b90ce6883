"""The tables of billing."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.database import base

SCHEMA = "billing"
Base = base(SCHEMA)

Moment = DateTime(timezone=True)
ClosedBy = Literal["event", "heartbeat", "reconcile"]


class PlanRow(Base):
    """Price, currency, period and hours never change in place."""

    __tablename__ = "plans"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    period_days: Mapped[int]
    included_hours: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (CheckConstraint("price >= 0", name="price_not_negative"), {"schema": SCHEMA})


class OrderRow(Base):
    """The fold of its events. `…_version` is the owner's version that a copy was taken at."""

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
    plan_id: Mapped[UUID] = mapped_column(ForeignKey(PlanRow.id))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[OrderState] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount_not_negative"),
        Index(None, "created_at", "id"),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "device_id"),
        Index(None, "plan_id"),
        Index(None, "state", "created_at", "id"),
        {"schema": SCHEMA},
    )


class OrderEventRow(Base):
    """One step of an order; `device_id` is what the step bound it to, `actor` who took it."""

    __tablename__ = "order_events"

    order_id: Mapped[UUID] = mapped_column(ForeignKey(OrderRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[OrderState] = mapped_column(String(20))
    device_id: Mapped[UUID | None]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class CopyRow(Base):
    """What we last heard of another service's `entity`: an order made while its name changes takes the newer one."""

    __tablename__ = "copies"

    entity: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    email: Mapped[str | None]

    __table_args__ = ({"schema": SCHEMA},)


class UsageRow(Base):
    """One run of a device. `stopped_at` None while it runs."""

    __tablename__ = "usage_records"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(unique=True)
    tenant_id: Mapped[UUID]
    device_id: Mapped[UUID]
    user_id: Mapped[UUID]
    started_at: Mapped[datetime] = mapped_column(Moment)
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    closed_by: Mapped[ClosedBy | None] = mapped_column(String(10))
    period: Mapped[Range[datetime]] = mapped_column(
        TSTZRANGE, Computed("tstzrange(started_at, stopped_at)", persisted=True)
    )

    __table_args__ = (
        CheckConstraint("stopped_at >= started_at", name="stops_after_start"),
        CheckConstraint("(stopped_at IS NULL) = (closed_by IS NULL)", name="closed_by_somebody"),
        ExcludeConstraint(("device_id", "="), ("period", "&&"), name="no_overlap", using="gist"),
        Index(None, "device_id", "started_at"),
        Index(None, "user_id", "started_at"),
        Index("ix_usage_records_open", "tenant_id", postgresql_where=text("stopped_at IS NULL")),
        {"schema": SCHEMA},
    )


class UsageAdjustmentRow(Base):
    """An end that was estimated, and what a late fact made of it."""

    __tablename__ = "usage_adjustments"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey(UsageRow.run_id), index=True)
    stopped_at_before: Mapped[datetime] = mapped_column(Moment)
    closed_by_before: Mapped[ClosedBy] = mapped_column(String(10))
    stopped_at: Mapped[datetime] = mapped_column(Moment)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class BalanceRow(Base):
    """Set by an administrator until transfers move money."""

    __tablename__ = "balances"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    currency: Mapped[str] = mapped_column(String(3))
    available: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("available >= 0 AND held >= 0", name="not_negative"),
        {"schema": SCHEMA},
    )

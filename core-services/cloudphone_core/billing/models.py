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

from cloudphone_shared.database import base

SCHEMA = "billing"
Base = base(SCHEMA)

Moment = DateTime(timezone=True)
ClosedBy = Literal["event", "heartbeat", "reconcile"]
ArrearsSource = Literal["operator", "invoice"]


class CopyRow(Base):
    """What we last heard of another service's `entity`: an order made while its name changes takes the newer one."""

    __tablename__ = "copies"

    entity: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    email: Mapped[str | None]

    __table_args__ = ({"schema": SCHEMA},)


class UsageRow(Base):
    """One run of a device. `stopped_at` None while it runs.

    `told_…` is the best that was told of its end; `stopped_at` follows from that and from the device's next run, so
    that no two intervals overlap. `user_id` None: the device was nobody's, the run is on no bill. `seen_at` is when it
    was last known to run (None for one recorded by hand), `asked_at` when the device's owner was last asked about it.
    """

    __tablename__ = "usage_records"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(unique=True)
    tenant_id: Mapped[UUID]
    device_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    started_at: Mapped[datetime] = mapped_column(Moment)
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    closed_by: Mapped[ClosedBy | None] = mapped_column(String(10))
    told_stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    told_by: Mapped[ClosedBy | None] = mapped_column(String(10))
    seen_at: Mapped[datetime | None] = mapped_column(Moment)
    asked_at: Mapped[datetime | None] = mapped_column(Moment)
    period: Mapped[Range[datetime]] = mapped_column(
        TSTZRANGE, Computed("tstzrange(started_at, stopped_at)", persisted=True)
    )

    __table_args__ = (
        CheckConstraint("stopped_at >= started_at", name="stops_after_start"),
        CheckConstraint("(stopped_at IS NULL) = (closed_by IS NULL)", name="closed_by_somebody"),
        CheckConstraint("(told_stopped_at IS NULL) = (told_by IS NULL)", name="told_by_somebody"),
        ExcludeConstraint(("device_id", "="), ("period", "&&"), name="no_overlap", using="gist"),
        Index(None, "device_id", "started_at"),
        Index(None, "user_id", "started_at"),
        Index("ix_usage_records_open", "tenant_id", postgresql_where=text("stopped_at IS NULL")),
        Index(
            "ix_usage_records_unsettled",
            text("asked_at NULLS FIRST"),
            postgresql_where=text("told_by IS NULL OR told_by = 'reconcile'"),
        ),
        {"schema": SCHEMA},
    )


class UsageAdjustmentRow(Base):
    """An end that stood, and what a late fact made of it: None where the run was found to go on."""

    __tablename__ = "usage_adjustments"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey(UsageRow.run_id), index=True)
    stopped_at_before: Mapped[datetime] = mapped_column(Moment)
    closed_by_before: Mapped[ClosedBy] = mapped_column(String(10))
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = ({"schema": SCHEMA},)


class ArrearsRow(Base):
    """A user who owes: the devices are frozen until the row is gone. `source`: who began it may end it, and an operator
    in any case."""

    __tablename__ = "arrears"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    reason: Mapped[str]
    source: Mapped[ArrearsSource] = mapped_column(String(8))
    since: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("source IN ('operator', 'invoice')", name="known_source"),
        Index(None, "tenant_id", "since", "user_id"),
        {"schema": SCHEMA},
    )


class OrderAllocationRow(Base):
    """The device that an order asked the scheduler for; what it holds can be given back with the token alone."""

    __tablename__ = "order_allocations"

    order_id: Mapped[UUID] = mapped_column(ForeignKey("billing.orders.id"), primary_key=True)
    state: Mapped[Literal["requested", "held", "failed", "released"]] = mapped_column(String(10))
    deadline_at: Mapped[datetime] = mapped_column(Moment)
    device_id: Mapped[UUID | None]
    allocation_id: Mapped[UUID | None]
    fencing_token: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("state IN ('requested', 'held', 'failed', 'released')", name="known_state"),
        CheckConstraint(
            "state <> 'held' OR (device_id IS NOT NULL AND allocation_id IS NOT NULL AND fencing_token IS NOT NULL)",
            name="held_by_token",
        ),
        Index("ix_order_allocations_waiting", "deadline_at", postgresql_where=text("state = 'requested'")),
        {"schema": SCHEMA},
    )

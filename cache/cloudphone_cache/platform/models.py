"""The warm-up's tables."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.database import base

Base = base("warmup")

ACTIVE = ("queued", "running")


class Run(Base):
    """At most one is active: a unique index over the active states holds it, whoever triggers."""

    __tablename__ = "runs"
    __table_args__ = (
        sa.Index("ix_runs_requested_at_id", "requested_at", "id"),
        sa.Index(
            "uq_runs_active",
            sa.text("(true)"),
            unique=True,
            postgresql_where=sa.text("state IN ('queued', 'running')"),
        ),
        sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'partial', 'failed')", name="state_known"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    trigger: Mapped[str]
    state: Mapped[str]
    requested_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    total: Mapped[int]
    filled: Mapped[int]
    skipped: Mapped[int]
    failed: Mapped[int]
    failures: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)

    @property
    def duration_ms(self) -> int | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)


class Schedule(Base):
    """One row. `cron` None: as the settings say. `leader` and `next_run_at` are the leader's notes for readers."""

    __tablename__ = "schedule"
    __table_args__ = (sa.CheckConstraint("present", name="one_row"),)

    present: Mapped[bool] = mapped_column(primary_key=True, server_default=sa.true())
    cron: Mapped[str | None]
    paused: Mapped[bool]
    leader: Mapped[str | None]
    next_run_at: Mapped[datetime | None]

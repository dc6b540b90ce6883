"""The warm-up's runs and its schedule."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from cloudphone_shared.database.migrations import create_common_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMA = "warmup"


def upgrade() -> None:
    create_common_tables(op, _SCHEMA)
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("filled", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("failures", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="state_known"),
        schema=_SCHEMA,
    )
    op.create_index("ix_runs_requested_at_id", "runs", ["requested_at", "id"], schema=_SCHEMA)
    op.create_index(
        "uq_runs_active",
        "runs",
        [sa.text("(true)")],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "schedule",
        sa.Column("present", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("cron", sa.Text()),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("leader", sa.Text()),
        sa.Column("next_run_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("present", name="pk_schedule"),
        sa.CheckConstraint("present", name="one_row"),
        schema=_SCHEMA,
    )
    op.execute("INSERT INTO warmup.schedule (paused) VALUES (false)")

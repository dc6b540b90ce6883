"""What devices need to live: operations, snapshots, grants, reports, arrears; allocations and last signs of life."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "device"
ALL_ABIS = sa.text("'{arm64-v8a,armeabi-v7a,x86_64,x86}'")


def upgrade() -> None:
    _devices()
    _operations()
    _snapshots()
    _grants()
    _reports()
    _arrears()


def _devices() -> None:
    none = sa.text("0")
    for column in (
        sa.Column("allocation_id", sa.Uuid),
        sa.Column("fencing_token", sa.BigInteger, nullable=False, server_default=none),
        _at("last_seen_at", nullable=True),
        sa.Column("last_error", sa.Text),
        sa.Column("recoveries", sa.BigInteger, nullable=False, server_default=none),
        _at("recover_at", nullable=True),
    ):
        op.add_column("devices", column, schema=SCHEMA)
    op.create_index("ix_devices_state_deadline_at", "devices", ["state_deadline_at"], schema=SCHEMA)
    op.create_index("ix_devices_recover_at", "devices", ["recover_at"], schema=SCHEMA)
    abis = sa.Column("abis", ARRAY(sa.Text), nullable=False, server_default=ALL_ABIS)
    op.add_column("device_templates", abis, schema=SCHEMA)
    op.add_column("device_templates", sa.Column("image", sa.Text), schema=SCHEMA)
    op.add_column("device_runs", sa.Column("user_id", sa.Uuid), schema=SCHEMA)
    op.execute(
        "UPDATE device.device_runs AS r SET user_id = d.owner_id FROM device.devices AS d WHERE d.id = r.device_id"
    )
    op.add_column("device_runs", sa.Column("closed_by", sa.Text), schema=SCHEMA)
    op.create_index(
        "uq_device_runs_device_id",
        "device_runs",
        ["device_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("stopped_at IS NULL"),
    )


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("device_id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("owner_id", sa.Uuid),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("progress", sa.BigInteger, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("result", JSONB),
        sa.Column("request", JSONB, nullable=False),
        sa.Column("batch_id", sa.Uuid),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        _at("not_before", nullable=True),
        _at("deadline_at"),
        _at("leased_until", nullable=True),
        sa.Column("lease_token", sa.Uuid),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        _at("created_at"),
        _at("updated_at"),
        _at("finished_at", nullable=True),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name=op.f("ck_operations_progress_percent")),
        sa.CheckConstraint(
            "(state IN ('queued', 'running')) = (finished_at IS NULL)", name=op.f("ck_operations_finished_state")
        ),
        sa.CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name=op.f("ck_operations_leased_state")),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_operations_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        schema=SCHEMA,
    )
    running, unfinished = sa.text("state = 'running'"), sa.text("state IN ('queued', 'running')")
    op.create_index(
        "uq_operations_device_id", "operations", ["device_id"], unique=True, schema=SCHEMA, postgresql_where=running
    )
    op.create_index(
        "ix_operations_unfinished", "operations", ["created_at", "id"], schema=SCHEMA, postgresql_where=unfinished
    )
    for column in ("device_id", "tenant_id", "owner_id"):
        columns = [column, "created_at", "id"]
        op.create_index(f"ix_operations_{column}", "operations", columns, schema=SCHEMA)
    op.create_index("ix_operations_created_at", "operations", ["created_at", "id"], schema=SCHEMA)
    op.create_index("ix_operations_batch_id", "operations", ["batch_id"], schema=SCHEMA)


def _snapshots() -> None:
    op.create_table(
        "device_snapshots",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("device_id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("volume_name", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", sa.Text),
        sa.Column("failure", sa.Text),
        _at("created_at"),
        _at("deleted_at", nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_device_snapshots_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_snapshots")),
        sa.UniqueConstraint("volume_name", name=op.f("uq_device_snapshots_volume_name")),
        schema=SCHEMA,
    )
    columns = ["device_id", "created_at", "id"]
    op.create_index("ix_device_snapshots_device_id", "device_snapshots", columns, schema=SCHEMA)


def _grants() -> None:
    op.create_table(
        "device_grants",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("device_id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("access", sa.String(20), nullable=False),
        _at("until"),
        _at("created_at"),
        _at("revoked_at", nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_device_grants_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_grants")),
        schema=SCHEMA,
    )
    op.create_index("ix_device_grants_device_id", "device_grants", ["device_id", "user_id"], schema=SCHEMA)
    op.create_index("ix_device_grants_user_id", "device_grants", ["user_id"], schema=SCHEMA)


def _reports() -> None:
    op.create_table(
        "reconcile_reports",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.String(20), nullable=False),
        _at("started_at"),
        _at("finished_at", nullable=True),
        sa.Column("body", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconcile_reports")),
        schema=SCHEMA,
    )
    op.create_index("ix_reconcile_reports_started_at", "reconcile_reports", ["started_at", "id"], schema=SCHEMA)


def _arrears() -> None:
    op.create_table(
        "arrears",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("owes", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_arrears")),
        schema=SCHEMA,
    )


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)

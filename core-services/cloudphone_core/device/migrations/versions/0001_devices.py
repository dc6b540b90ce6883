"""Nodes, templates, owners, devices, their runs and the log of their states."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cloudphone_shared.database import create_common_tables

revision = "0001"
down_revision = None

SCHEMA = "device"
PRESENT = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    create_common_tables(op, SCHEMA)
    _fleet()
    _owners()
    _devices()
    _runs_and_states()


def _fleet() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("weight", sa.BigInteger, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        _at("last_heartbeat_at", nullable=True),
        _at("created_at"),
        _at("deleted_at", nullable=True),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_nodes_capacity_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        schema=SCHEMA,
    )
    op.create_index("uq_nodes_name", "nodes", ["name"], unique=True, schema=SCHEMA, postgresql_where=PRESENT)
    sizes = ("cpu_cores", "memory_mib", "storage_gib", "width", "height", "dpi")
    op.create_table(
        "device_templates",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("android_version", sa.Text, nullable=False),
        *(sa.Column(size, sa.BigInteger, nullable=False) for size in sizes),
        _at("created_at"),
        _at("deleted_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_templates")),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_device_templates_name", "device_templates", ["name"], unique=True, schema=SCHEMA, postgresql_where=PRESENT
    )


def _owners() -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
        schema=SCHEMA,
    )


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner_id", sa.Uuid),
        sa.Column("owner_name", sa.Text),
        sa.Column("owner_email", sa.Text),
        sa.Column("node_id", sa.Uuid),
        sa.Column("template_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.String(20), nullable=False),
        sa.Column("desired_state", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        _at("state_deadline_at", nullable=True),
        sa.Column("tags", ARRAY(sa.Text), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.Uuid),
        sa.Column("container_id", sa.Text),
        sa.Column("volume_name", sa.Text),
        sa.Column("adb_host", sa.Text),
        sa.Column("adb_port", sa.BigInteger),
        _at("created_at"),
        _at("updated_at"),
        _at("deleted_at", nullable=True),
        sa.CheckConstraint("(state = 'deleted') = (deleted_at IS NOT NULL)", name=op.f("ck_devices_deleted_state")),
        sa.CheckConstraint("adb_port BETWEEN 1 AND 65535", name=op.f("ck_devices_adb_port_range")),
        sa.CheckConstraint(
            "owner_id IS NOT NULL OR (owner_name IS NULL AND owner_email IS NULL)", name=op.f("ck_devices_owner_copy")
        ),
        sa.ForeignKeyConstraint(["node_id"], ["device.nodes.id"], name=op.f("fk_devices_node_id")),
        sa.ForeignKeyConstraint(["template_id"], ["device.device_templates.id"], name=op.f("fk_devices_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("volume_name", name=op.f("uq_devices_volume_name")),
        schema=SCHEMA,
    )
    for column in ("created_at", "updated_at", "name", "state", "owner_name"):
        op.create_index(f"ix_devices_{column}", "devices", [column, "id"], schema=SCHEMA, postgresql_where=PRESENT)
    for column in ("owner_id", "node_id", "template_id"):
        op.create_index(f"ix_devices_{column}", "devices", [column], schema=SCHEMA)
    op.create_index("ix_devices_tags", "devices", ["tags"], schema=SCHEMA, postgresql_using="gin")
    op.create_index(
        "ix_devices_tenant_id",
        "devices",
        ["tenant_id", "created_at", "id"],
        schema=SCHEMA,
        postgresql_where=PRESENT,
    )
    op.create_index(
        "uq_devices_node_id_adb_port",
        "devices",
        ["node_id", "adb_port"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=PRESENT,
    )


def _runs_and_states() -> None:
    op.create_table(
        "device_runs",
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("device_id", sa.Uuid, nullable=False),
        _at("started_at"),
        _at("stopped_at", nullable=True),
        sa.Column("stop_reason", sa.Text),
        _at("last_seen_at"),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_device_runs_device_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_device_runs")),
        schema=SCHEMA,
    )
    op.create_index("ix_device_runs_device_id", "device_runs", ["device_id", "started_at"], schema=SCHEMA)
    op.create_table(
        "device_state_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("device_id", sa.Uuid, nullable=False),
        sa.Column("from_state", sa.String(20)),
        sa.Column("to_state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        _at("at"),
        sa.ForeignKeyConstraint(["device_id"], ["device.devices.id"], name=op.f("fk_device_state_log_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_state_log")),
        schema=SCHEMA,
    )
    op.create_index("ix_device_state_log_device_id", "device_state_log", ["device_id", "id"], schema=SCHEMA)


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)

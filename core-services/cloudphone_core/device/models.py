"""The tables of device."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.device import DeviceState, NodeStatus, Provider
from cloudphone_shared.database import base

SCHEMA = "device"
Base = base(SCHEMA)

_PRESENT = text("deleted_at IS NULL")


class NodeRow(Base):
    """A machine that devices run on; `capacity` in devices."""

    __tablename__ = "nodes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    region: Mapped[str]
    status: Mapped[NodeStatus] = mapped_column(String(20))
    capacity: Mapped[int]
    weight: Mapped[int]
    labels: Mapped[dict[str, str]]
    last_heartbeat_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("capacity > 0", name="capacity_positive"),
        Index("uq_nodes_name", "name", unique=True, postgresql_where=_PRESENT),
        {"schema": SCHEMA},
    )


class TemplateRow(Base):
    """What a device is made from; memory in MiB, storage in GiB, screen in pixels."""

    __tablename__ = "device_templates"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    android_version: Mapped[str]
    cpu_cores: Mapped[int]
    memory_mib: Mapped[int]
    storage_gib: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    dpi: Mapped[int]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_device_templates_name", "name", unique=True, postgresql_where=_PRESENT),
        {"schema": SCHEMA},
    )


class OwnerRow(Base):
    """What was last heard of a user, at the user's `version`: an assignment that meets a newer rename takes that name.

    `name` and `email` are empty once the user is deleted.
    """

    __tablename__ = "owners"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    name: Mapped[str]
    email: Mapped[str]
    deleted: Mapped[bool]

    __table_args__ = ({"schema": SCHEMA},)


class DeviceRow(Base):
    """`owner_name` and `owner_email` are copies of the owner's; `generation` counts the volumes it has had."""

    __tablename__ = "devices"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    name: Mapped[str]
    owner_id: Mapped[UUID | None]
    owner_name: Mapped[str | None]
    owner_email: Mapped[str | None]
    node_id: Mapped[UUID | None] = mapped_column(ForeignKey(NodeRow.id))
    template_id: Mapped[UUID] = mapped_column(ForeignKey(TemplateRow.id))
    provider: Mapped[Provider] = mapped_column(String(20))
    desired_state: Mapped[DeviceState] = mapped_column(String(20))
    state: Mapped[DeviceState] = mapped_column(String(20))
    state_deadline_at: Mapped[datetime | None]
    tags: Mapped[list[str]]
    generation: Mapped[int]
    run_id: Mapped[UUID | None]
    container_id: Mapped[str | None]
    volume_name: Mapped[str | None] = mapped_column(unique=True)
    adb_host: Mapped[str | None]
    adb_port: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("adb_port BETWEEN 1 AND 65535", name="adb_port_range"),
        CheckConstraint("(state = 'deleted') = (deleted_at IS NOT NULL)", name="deleted_state"),
        CheckConstraint("owner_id IS NOT NULL OR (owner_name IS NULL AND owner_email IS NULL)", name="owner_copy"),
        Index("uq_devices_node_id_adb_port", "node_id", "adb_port", unique=True, postgresql_where=_PRESENT),
        Index("ix_devices_tenant_id", "tenant_id", "created_at", "id", postgresql_where=_PRESENT),
        Index("ix_devices_created_at", "created_at", "id", postgresql_where=_PRESENT),
        Index("ix_devices_updated_at", "updated_at", "id", postgresql_where=_PRESENT),
        Index("ix_devices_name", "name", "id", postgresql_where=_PRESENT),
        Index("ix_devices_state", "state", "id", postgresql_where=_PRESENT),
        Index("ix_devices_owner_name", "owner_name", "id", postgresql_where=_PRESENT),
        Index("ix_devices_owner_id", "owner_id"),
        Index("ix_devices_node_id", "node_id"),
        Index("ix_devices_template_id", "template_id"),
        Index("ix_devices_tags", "tags", postgresql_using="gin"),
        {"schema": SCHEMA},
    )


class DeviceRunRow(Base):
    """One stretch of running, from start to stop; `stopped_at` None while it runs."""

    __tablename__ = "device_runs"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str | None]
    last_seen_at: Mapped[datetime]

    __table_args__ = (Index("ix_device_runs_device_id", "device_id", "started_at"), {"schema": SCHEMA})


class StateLogRow(Base):
    """One transition, in the order of `id`; `from_state` None is the device's making. `actor` is a caller's id."""

    __tablename__ = "device_state_log"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    from_state: Mapped[DeviceState | None] = mapped_column(String(20))
    to_state: Mapped[DeviceState] = mapped_column(String(20))
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (Index("ix_device_state_log_device_id", "device_id", "id"), {"schema": SCHEMA})

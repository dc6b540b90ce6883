"""The tables of device."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.device import DeviceState, NodeStatus, Provider
from cloudphone_shared.contracts.operation import OperationKind, OperationState
from cloudphone_shared.contracts.phone import Access, SnapshotState
from cloudphone_shared.database import base

SCHEMA = "device"
Base = base(SCHEMA)

ALL_ABIS = "{arm64-v8a,armeabi-v7a,x86_64,x86}"
_PRESENT = text("deleted_at IS NULL")
_UNFINISHED = text("state IN ('queued', 'running')")


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
    """What a device is made from; memory in MiB, storage in GiB, screen in pixels.

    `image` None: the provider's own.
    """

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
    abis: Mapped[list[str]] = mapped_column(server_default=text(f"'{ALL_ABIS}'"))
    image: Mapped[str | None]
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
    """`owner_name` and `owner_email` are copies of the owner's; `generation` counts the volumes it has had.

    `volume_name` is None until its first start and after a cleaning. `fencing_token` is the highest that was obeyed;
    `recoveries` counts what was done unasked since somebody last asked for something, `recover_at` when again.
    """

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
    allocation_id: Mapped[UUID | None]
    fencing_token: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    last_seen_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    recoveries: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    recover_at: Mapped[datetime | None]
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
        Index("ix_devices_state_deadline_at", "state_deadline_at"),
        Index("ix_devices_recover_at", "recover_at"),
        {"schema": SCHEMA},
    )


class DeviceRunRow(Base):
    """One stretch of running, from start to stop; `stopped_at` None while it runs. `user_id`: who held the device.

    `closed_by`: `event` where somebody ended it, else it ended when it was last seen.
    """

    __tablename__ = "device_runs"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    user_id: Mapped[UUID | None]
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str | None]
    closed_by: Mapped[str | None]
    last_seen_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_device_runs_device_id", "device_id", "started_at"),
        Index("uq_device_runs_device_id", "device_id", unique=True, postgresql_where=text("stopped_at IS NULL")),
        {"schema": SCHEMA},
    )


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


class OperationRow(Base):
    """Long work on a device: the row is the truth, a message only wakes who does it.

    It is a worker's while `state` is running, `leased_until` lies ahead and `lease_token` is the worker's own. One
    runs at a time on a device. `deadline_at`: it is not tried again after that. `owner_id`: who held the device then.
    """

    __tablename__ = "operations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[OperationKind] = mapped_column(String(20))
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    tenant_id: Mapped[UUID]
    owner_id: Mapped[UUID | None]
    state: Mapped[OperationState] = mapped_column(String(20))
    progress: Mapped[int]
    step: Mapped[str]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    request: Mapped[dict[str, Any]]
    batch_id: Mapped[UUID | None]
    requested_by: Mapped[str]
    attempt: Mapped[int]
    not_before: Mapped[datetime | None]
    deadline_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    lease_token: Mapped[UUID | None]
    cancel_requested: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress_percent"),
        CheckConstraint("(state IN ('queued', 'running')) = (finished_at IS NULL)", name="finished_state"),
        CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="leased_state"),
        Index("uq_operations_device_id", "device_id", unique=True, postgresql_where=text("state = 'running'")),
        Index("ix_operations_unfinished", "created_at", "id", postgresql_where=_UNFINISHED),
        Index("ix_operations_device_id", "device_id", "created_at", "id"),
        Index("ix_operations_tenant_id", "tenant_id", "created_at", "id"),
        Index("ix_operations_created_at", "created_at", "id"),
        Index("ix_operations_owner_id", "owner_id", "created_at", "id"),
        Index("ix_operations_batch_id", "batch_id"),
        {"schema": SCHEMA},
    )


class SnapshotRow(Base):
    """A copy of a device's volume, itself a volume; `size` in bytes. `generation`: of which of the device's volumes."""

    __tablename__ = "device_snapshots"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    tenant_id: Mapped[UUID]
    name: Mapped[str]
    state: Mapped[SnapshotState] = mapped_column(String(20))
    volume_name: Mapped[str] = mapped_column(unique=True)
    generation: Mapped[int]
    size: Mapped[int | None]
    sha256: Mapped[str | None]
    failure: Mapped[str | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_device_snapshots_device_id", "device_id", "created_at", "id"), {"schema": SCHEMA})


class GrantRow(Base):
    """One user's leave to see, or to control, a device of another, until then or until it is revoked."""

    __tablename__ = "device_grants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id))
    tenant_id: Mapped[UUID]
    owner_id: Mapped[UUID]
    user_id: Mapped[UUID]
    user_name: Mapped[str]
    access: Mapped[Access] = mapped_column(String(20))
    until: Mapped[datetime]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_device_grants_device_id", "device_id", "user_id"),
        Index("ix_device_grants_user_id", "user_id"),
        {"schema": SCHEMA},
    )


class ReconcileReportRow(Base):
    """One comparison of containers with rows; `body` as the contract ReconcileReport has it."""

    __tablename__ = "reconcile_reports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[Provider] = mapped_column(String(20))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    body: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_reconcile_reports_started_at", "started_at", "id"), {"schema": SCHEMA})


class VitalsRow(Base):
    """How a device's phone was doing when it was last looked at. CPU from 0 to 1, sizes in bytes; None: not told."""

    __tablename__ = "device_vitals"

    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id), primary_key=True)
    at: Mapped[datetime]
    cpu_load: Mapped[float | None] = mapped_column(Double)
    memory_used: Mapped[int | None]
    memory_total: Mapped[int | None]
    storage_used: Mapped[int | None]
    storage_total: Mapped[int | None]
    foreground: Mapped[str | None]

    __table_args__ = ({"schema": SCHEMA},)


class ArrearsRow(Base):
    """Whether a user owes, as billing announced it at that `version`: older news change nothing."""

    __tablename__ = "arrears"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    owes: Mapped[bool]

    __table_args__ = ({"schema": SCHEMA},)

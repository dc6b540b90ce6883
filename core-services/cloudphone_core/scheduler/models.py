"""The tables of scheduler: what it knows of the fleet, who asked, who holds what, whose turn it is."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Sequence, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.scheduler import AllocationState, NodeHealth, RequestState, Strategy
from cloudphone_shared.database import base

SCHEMA = "scheduler"
Base = base(SCHEMA)

LIVE: tuple[AllocationState, ...] = ("reserved", "active")
"""The states in which an allocation keeps its device."""

_LIVE = text("state IN ('reserved', 'active')")
_FREE = text("state = 'idle' AND allocation_id IS NULL AND NOT deleted")
_OPEN = text("status = 'online' AND health = 'online' AND NOT deleted")
_QUEUED = text("state = 'queued'")

fencing_tokens = Sequence("fencing_tokens", metadata=Base.metadata, schema=SCHEMA)
services = Sequence("services", metadata=Base.metadata, schema=SCHEMA)
"""Numbers the times that a tenant's queue was served."""


class TenantRow(Base):
    """Its lock is held by whoever gives or takes a device of the tenant. `served`: when its queue last was."""

    __tablename__ = "tenants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    served: Mapped[int]

    __table_args__ = ({"schema": SCHEMA},)


class NodeRow(Base):
    """A copy of the device service's at `version`, 0 while only its heartbeats are known, and what we saw of it.

    `live` counts its live allocations; `report` is its last heartbeat. `stale`: to be asked for.
    """

    __tablename__ = "nodes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    name: Mapped[str]
    region: Mapped[str]
    status: Mapped[str] = mapped_column(String(20))
    capacity: Mapped[int]
    weight: Mapped[int]
    labels: Mapped[dict[str, str]]
    deleted: Mapped[bool]
    stale: Mapped[bool]
    health: Mapped[NodeHealth] = mapped_column(String(20))
    last_heartbeat_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]
    live: Mapped[int]

    __table_args__ = (
        CheckConstraint("live >= 0", name="live_not_negative"),
        Index("ix_nodes_live", "live", "id", postgresql_where=_OPEN),
        Index("ix_nodes_stale", "id", postgresql_where=text("stale")),
        {"schema": SCHEMA},
    )


class TemplateRow(Base):
    """A copy of the device service's: which ABIs its devices run."""

    __tablename__ = "templates"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    abis: Mapped[list[str]]
    stale: Mapped[bool]

    __table_args__ = ({"schema": SCHEMA},)


class DeviceRow(Base):
    """A copy of the device service's at `version`; tenant and template are unknown while only its state was heard.

    `seq` is the number of the event that told of it, which tells apart those of one version. `allocation_id` is its
    live allocation; `rest_until` keeps it from being chosen right after a refusal.
    """

    __tablename__ = "devices"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    seq: Mapped[int]
    tenant_id: Mapped[UUID | None]
    node_id: Mapped[UUID | None]
    template_id: Mapped[UUID | None]
    state: Mapped[str] = mapped_column(String(20))
    deleted: Mapped[bool]
    stale: Mapped[bool]
    allocation_id: Mapped[UUID | None]
    rest_until: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_devices_free", "tenant_id", "node_id", "template_id", "id", postgresql_where=_FREE),
        Index("ix_devices_node_id", "node_id", "tenant_id"),
        Index("ix_devices_stale", "id", postgresql_where=text("stale")),
        {"schema": SCHEMA},
    )


class SiteRow(Base):
    """A node on which a tenant has, or had, devices; numbered under the tenant's lock."""

    __tablename__ = "sites"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    node_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Identity(always=True))

    __table_args__ = (Index("ix_sites_tenant_id_seq", "tenant_id", "seq"), {"schema": SCHEMA})


class RequestRow(Base):
    """Somebody asked for a device. Queued ones are served in the order of `seq`; `pool` is one for equal constraints.

    `replied` is what billing was told last, None while it was told nothing or does not ask.
    """

    __tablename__ = "requests"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Identity(always=True), unique=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    order_id: Mapped[UUID | None]
    saga_id: Mapped[UUID | None] = mapped_column(unique=True)
    constraints: Mapped[dict[str, Any]]
    pool: Mapped[str]
    strategy: Mapped[Strategy] = mapped_column(String(20))
    state: Mapped[RequestState] = mapped_column(String(20))
    lease_seconds: Mapped[int | None]
    deadline_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    allocation_id: Mapped[UUID | None]
    failure: Mapped[str | None]
    replied: Mapped[str | None] = mapped_column(String(20))

    __table_args__ = (
        Index("ix_requests_queued", "tenant_id", "pool", "seq", postgresql_where=_QUEUED),
        Index("ix_requests_deadline_at", "deadline_at", postgresql_where=_QUEUED),
        Index("ix_requests_created_at", "created_at", "id"),
        {"schema": SCHEMA},
    )


class AllocationRow(Base):
    """`lease_until` of a reserved one is when the device must have answered."""

    __tablename__ = "allocations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey(RequestRow.id))
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    device_id: Mapped[UUID]
    node_id: Mapped[UUID]
    order_id: Mapped[UUID | None]
    saga_id: Mapped[UUID | None]
    state: Mapped[AllocationState] = mapped_column(String(20))
    fencing_token: Mapped[int] = mapped_column(unique=True)
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_reason: Mapped[str | None]

    __table_args__ = (
        Index("uq_allocations_device_id_live", "device_id", unique=True, postgresql_where=_LIVE),
        Index("uq_allocations_saga_id_live", "saga_id", unique=True, postgresql_where=_LIVE),
        Index("ix_allocations_lease_until", "lease_until", postgresql_where=_LIVE),
        Index("ix_allocations_request_id", "request_id"),
        Index("ix_allocations_created_at", "created_at", "id"),
        Index("ix_allocations_user_id", "user_id", "created_at", "id"),
        Index("ix_allocations_device_id", "device_id", "created_at", "id"),
        Index("ix_allocations_node_id", "node_id", "created_at", "id"),
        {"schema": SCHEMA},
    )


class RingRow(Base):
    """The persisted cursor of a strategy for one tenant and one kind of wish: `clock` is the last turn's time.

    `sites_seen`: nodes of the tenant numbered higher have no turn yet.
    """

    __tablename__ = "rings"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    clock: Mapped[int]
    sites_seen: Mapped[int]
    used_at: Mapped[datetime]

    __table_args__ = ({"schema": SCHEMA},)


class TurnRow(Base):
    """When a node of a ring is due, in the ring's time."""

    __tablename__ = "turns"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    ring: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[UUID] = mapped_column(primary_key=True)
    due: Mapped[int]

    __table_args__ = (Index("ix_turns_due", "tenant_id", "ring", "due", "node_id"), {"schema": SCHEMA})


class SettingsRow(Base):
    """One row: what operators chose."""

    __tablename__ = "settings"

    single: Mapped[bool] = mapped_column(primary_key=True)
    strategy: Mapped[Strategy] = mapped_column(String(20))
    synchronized_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("single", name="one_row"), {"schema": SCHEMA})

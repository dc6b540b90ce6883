"""What the device service announces."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from .envelope import Event


class DeviceCreated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.created"
    device_id: UUID
    tenant_id: UUID
    name: str
    node_id: UUID | None = None
    template_id: UUID | None = None


class DeviceUpdated(Event, frozen=True, kw_only=True):
    """`changed` names the fields; `user_id` is the owner after the change, `previous_user_id` before it."""

    type: ClassVar[str] = "device.updated"
    device_id: UUID
    tenant_id: UUID
    name: str
    user_id: UUID | None
    previous_user_id: UUID | None = None
    changed: list[str]


class DeviceStatusChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.status.changed"
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    old_status: str
    new_status: str
    reason: str


class DeviceDeleted(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.deleted"
    device_id: UUID
    tenant_id: UUID


class NodeChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "node.changed"
    node_id: UUID
    status: str
    changed: list[str]


class TemplateChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "template.changed"
    template_id: UUID
    changed: list[str]


class DeviceStarted(Event, frozen=True, kw_only=True):
    """A run began: the phone is up. Whatever is told of it later carries the same `run_id`."""

    type: ClassVar[str] = "device.started"
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    run_id: UUID
    started_at: datetime
    order_id: UUID | None = None


class DeviceStopped(Event, frozen=True, kw_only=True):
    """A run ended at `stopped_at`: as it was seen to end, or when it was last seen alive."""

    type: ClassVar[str] = "device.stopped"
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    run_id: UUID
    started_at: datetime
    stopped_at: datetime
    reason: str
    closed_by: Literal["event", "heartbeat", "reconcile"] = "event"


class OperationRequested(Event, frozen=True, kw_only=True):
    """Work for whichever worker hears of it first."""

    type: ClassVar[str] = "device.operation.requested"
    operation_id: UUID
    device_id: UUID
    tenant_id: UUID
    kind: str


class OperationChanged(Event, frozen=True, kw_only=True):
    """`user_id` is the device's owner."""

    type: ClassVar[str] = "device.operation.changed"
    public: ClassVar[bool] = True
    operation_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    kind: str
    state: str
    progress: int


class SnapshotReady(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "snapshot.ready"
    public: ClassVar[bool] = True
    snapshot_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    size: int
    sha256: str


class SnapshotFailed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "snapshot.failed"
    public: ClassVar[bool] = True
    snapshot_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    reason: str


class SnapshotDeleted(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "snapshot.deleted"
    public: ClassVar[bool] = True
    snapshot_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None


class DeviceShared(Event, frozen=True, kw_only=True):
    """`until` in the past, or now: it was revoked."""

    type: ClassVar[str] = "device.shared"
    public: ClassVar[bool] = True
    grant_id: UUID
    device_id: UUID
    tenant_id: UUID
    owner_id: UUID
    user_id: UUID
    until: datetime


class DeviceAllocated(Event, frozen=True, kw_only=True):
    """The device is the user's, under this token."""

    type: ClassVar[str] = "device.allocated"
    device_id: UUID
    tenant_id: UUID
    user_id: UUID
    allocation_id: UUID
    fencing_token: int


class DeviceAllocationRefused(Event, frozen=True, kw_only=True):
    """The device could not be given under this token: it was not idle, or the user may hold none."""

    type: ClassVar[str] = "device.allocation.refused"
    device_id: UUID
    tenant_id: UUID
    allocation_id: UUID
    fencing_token: int
    reason: str


class OfInstallation(Event, frozen=True, kw_only=True):
    """What is told of an installation's work; what counts is the word on its highest attempt."""

    installation_id: UUID
    device_id: UUID
    tenant_id: UUID
    attempt: int


class AppInstallProgressed(OfInstallation, frozen=True, kw_only=True):
    """`state` as an installation has them; `progress` in percent of the whole way."""

    type: ClassVar[str] = "app.install.progressed"
    state: str
    progress: int


class AppInstallCompleted(OfInstallation, frozen=True, kw_only=True):
    type: ClassVar[str] = "app.install.completed"


class AppInstallFailed(OfInstallation, frozen=True, kw_only=True):
    """`code` as Android or the platform has it, `error` a sentence."""

    type: ClassVar[str] = "app.install.failed"
    code: str
    error: str
    cancelled: bool = False


class AppUninstallCompleted(OfInstallation, frozen=True, kw_only=True):
    type: ClassVar[str] = "app.uninstall.completed"


class AppUninstallFailed(OfInstallation, frozen=True, kw_only=True):
    type: ClassVar[str] = "app.uninstall.failed"
    code: str
    error: str

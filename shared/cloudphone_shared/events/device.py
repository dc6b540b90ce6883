"""What the device service announces."""

from typing import ClassVar
from uuid import UUID

from .envelope import Event


class DeviceCreated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.created"
    public: ClassVar[bool] = True
    device_id: UUID
    tenant_id: UUID
    name: str


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
    public: ClassVar[bool] = True
    node_id: UUID
    status: str
    changed: list[str]


class TemplateChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "template.changed"
    public: ClassVar[bool] = True
    template_id: UUID
    changed: list[str]

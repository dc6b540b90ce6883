"""What is announced about allocations: asked for by billing, answered by the scheduler."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from .envelope import Event


class DeviceAllocateRequested(Event, frozen=True, kw_only=True):
    """`constraints` as in the contract; asked twice with one `saga_id`, answered with the same allocation."""

    type: ClassVar[str] = "device.allocate.requested"
    saga_id: UUID
    order_id: UUID | None
    user_id: UUID
    tenant_id: UUID
    plan_id: UUID | None
    deadline: datetime
    constraints: dict[str, Any] = {}


class DeviceAllocateReplied(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.allocate.replied"
    saga_id: UUID
    tenant_id: UUID
    success: bool
    device_id: UUID | None = None
    allocation_id: UUID | None = None
    fencing_token: int | None = None
    failure_reason: str | None = None


class DeviceReleaseRequested(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "device.release"
    device_id: UUID
    allocation_id: UUID
    fencing_token: int
    reason: str
    tenant_id: UUID | None = None


class AllocationReserved(Event, frozen=True, kw_only=True):
    """The device is to become this user's. A device obeys only a higher token than it has seen."""

    type: ClassVar[str] = "allocation.reserved"
    allocation_id: UUID
    device_id: UUID
    user_id: UUID
    tenant_id: UUID
    fencing_token: int
    order_id: UUID | None = None


class AllocationReleased(Event, frozen=True, kw_only=True):
    """Also of one that expired. The device is taken from its user if it is still this token's."""

    type: ClassVar[str] = "allocation.released"
    allocation_id: UUID
    device_id: UUID
    user_id: UUID
    tenant_id: UUID
    fencing_token: int
    reason: str


class NodeOffline(Event, frozen=True, kw_only=True):
    """No heartbeat came for too long."""

    type: ClassVar[str] = "node.offline"
    node_id: UUID
    last_heartbeat_at: datetime | None


class NodeOnline(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "node.online"
    node_id: UUID

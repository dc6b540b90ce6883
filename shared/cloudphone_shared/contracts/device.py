"""What the device service answers and accepts: devices, nodes, templates."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .common import Contract, Name, Request, Tag

DeviceState = Literal[
    "creating", "idle", "allocated", "starting", "running", "stopping", "stopped", "rebooting", "resetting",
    "backing_up", "restoring", "frozen", "cleaning", "maintenance", "error", "deleting", "deleted",
]  # fmt: skip
NodeStatus = Literal["online", "offline", "maintenance", "draining"]
Provider = Literal["simulated", "docker"]
Tags = Annotated[list[Tag], Meta(max_length=20)]

DEVICE_SORTS = ("name", "state", "ownerName", "createdAt", "updatedAt")


class NodeSummary(Contract, frozen=True, kw_only=True):
    id: UUID
    name: str
    region: str
    status: NodeStatus


ALL_ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64", "x86")


class TemplateSummary(Contract, frozen=True, kw_only=True):
    id: UUID
    name: str
    android_version: str
    width: int
    height: int


class Device(Contract, frozen=True, kw_only=True):
    """`owner_name` and `owner_email` are copies for search and fallback; their truth is the user service's.

    `version` is the resource's own version, its ETag on writes. `node` and `template` depend on their own entities.
    `last_error`: why its last work failed, None once another succeeded.
    """

    id: UUID
    tenant_id: UUID
    name: str
    owner_id: UUID | None
    owner_name: str | None
    owner_email: str | None
    state: DeviceState
    desired_state: DeviceState
    provider: Provider
    node: NodeSummary | None
    template: TemplateSummary
    tags: list[str]
    generation: int
    run_id: UUID | None
    adb_host: str | None
    adb_port: int | None
    created_at: datetime
    updated_at: datetime
    version: int
    last_error: str | None = None
    allocation_id: UUID | None = None


class DeviceSummary(Contract, frozen=True, kw_only=True):
    """A device as a list's card shows it: only what `device:<id>` itself covers."""

    id: UUID
    tenant_id: UUID
    name: str
    owner_id: UUID | None
    owner_name: str | None
    state: DeviceState
    node_id: UUID | None
    template_id: UUID
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    version: int


class DevicesHeld(Contract, frozen=True, kw_only=True):
    """`total` devices that a user holds, the first of them by name. Depends on `devices-of:<userId>` and each one."""

    total: int
    items: list[DeviceSummary]


class DeviceCreate(Request, frozen=True, kw_only=True):
    """`tenant_id` defaults to the caller's; only a caller who sees all tenants may name another. `provider` defaults to
    the platform's, which is the only one it takes."""

    name: Name
    template_id: UUID
    node_id: UUID | None = None
    tenant_id: UUID | None = None
    provider: Provider | None = None
    tags: Tags = []


class DevicePatch(Request, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET


class DeviceAssign(Request, frozen=True, kw_only=True):
    owner_id: UUID


class DeviceStart(Request, frozen=True, kw_only=True):
    """`force`: also out of an error."""

    force: bool = False


class StateChange(Contract, frozen=True, kw_only=True):
    from_state: DeviceState | None
    to_state: DeviceState
    reason: str
    at: datetime


class Node(Contract, frozen=True, kw_only=True):
    """`capacity` in devices."""

    id: UUID
    name: str
    region: str
    status: NodeStatus
    capacity: int
    weight: int
    labels: dict[str, str]
    last_heartbeat_at: datetime | None
    version: int


class NodeCreate(Request, frozen=True, kw_only=True):
    name: Name
    region: Tag
    capacity: Annotated[int, Meta(ge=1, le=10_000)]
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    labels: dict[Tag, Annotated[str, Meta(max_length=80, pattern=r"^[^\x00]*$")]] = {}


class NodePatch(Request, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    status: NodeStatus | UnsetType = UNSET
    capacity: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET
    weight: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    labels: dict[Tag, Annotated[str, Meta(max_length=80, pattern=r"^[^\x00]*$")]] | UnsetType = UNSET


class Template(Contract, frozen=True, kw_only=True):
    """`memory_mib` in MiB, `storage_gib` in GiB, screen in pixels. `abis`: what its phones run."""

    id: UUID
    name: str
    android_version: str
    cpu_cores: int
    memory_mib: int
    storage_gib: int
    width: int
    height: int
    dpi: int
    version: int
    abis: list[str] = msgspec.field(default_factory=lambda: list(ALL_ABIS))


class TemplateCreate(Request, frozen=True, kw_only=True):
    name: Name
    android_version: Annotated[str, Meta(pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?$")]
    cpu_cores: Annotated[int, Meta(ge=1, le=64)]
    memory_mib: Annotated[int, Meta(ge=256, le=262_144)]
    storage_gib: Annotated[int, Meta(ge=1, le=4096)]
    width: Annotated[int, Meta(ge=240, le=7680)] = 1080
    height: Annotated[int, Meta(ge=240, le=7680)] = 1920
    dpi: Annotated[int, Meta(ge=72, le=960)] = 320


class TemplatePatch(Request, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    cpu_cores: Annotated[int, Meta(ge=1, le=64)] | UnsetType = UNSET
    memory_mib: Annotated[int, Meta(ge=256, le=262_144)] | UnsetType = UNSET
    storage_gib: Annotated[int, Meta(ge=1, le=4096)] | UnsetType = UNSET


class DeviceStatistics(Contract, frozen=True, kw_only=True):
    total: int
    assigned: int
    by_state: dict[str, int]


class DeviceRun(Contract, frozen=True, kw_only=True):
    """One run as the device service knows it: `stopped_at` None while it lasts, `last_seen_at` when it was last seen
    alive."""

    run_id: UUID
    device_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None = None
    closed_by: Literal["event", "heartbeat", "reconcile"] | None = None
    last_seen_at: datetime | None = None

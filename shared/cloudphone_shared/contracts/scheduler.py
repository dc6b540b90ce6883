"""What the scheduler answers and accepts: allocations, the queue of requests, placements, the health of nodes."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, field

from .app import Abi
from .common import Contract, Request, Tag

AllocationState = Literal["reserved", "active", "released", "expired"]
RequestState = Literal["queued", "placed", "refused", "cancelled", "expired"]
Strategy = Literal["round_robin", "least_connection", "weighted_round_robin"]
NodeHealth = Literal["online", "offline"]


class Constraints(Request, frozen=True, kw_only=True):
    """What a device must have; None or empty: anything. `near_device_id`: on the same node as that one."""

    region: Tag | None = None
    labels: Annotated[dict[Tag, Annotated[str, Meta(max_length=80)]], Meta(max_length=16)] = {}
    abi: Abi | None = None
    template_id: UUID | None = None
    near_device_id: UUID | None = None
    apart_from_device_id: UUID | None = None


class AllocationCreate(Request, frozen=True, kw_only=True):
    """`wait_seconds` 0: refused at once when nothing fits; otherwise queued for as long at most.

    `tenant_id` defaults to the user's. `strategy` defaults to the platform's.
    """

    user_id: UUID
    constraints: Constraints = field(default_factory=Constraints)
    strategy: Strategy | None = None
    wait_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 0
    lease_seconds: Annotated[int, Meta(ge=10, le=86_400)] | None = None
    order_id: UUID | None = None


class Allocation(Contract, frozen=True, kw_only=True):
    """`lease_until` None: for good, until it is released. A release needs `fencing_token`."""

    id: UUID
    request_id: UUID
    tenant_id: UUID
    user_id: UUID
    device_id: UUID
    node_id: UUID
    order_id: UUID | None
    saga_id: UUID | None
    state: AllocationState
    fencing_token: int
    lease_until: datetime | None
    created_at: datetime
    updated_at: datetime
    ended_reason: str | None


class NodeVerdict(Contract, frozen=True, kw_only=True):
    """Why a node was chosen, could have been, or could not: `reasons` in words, empty for one that fits."""

    node_id: UUID
    node_name: str
    fits: bool
    chosen: bool
    free_devices: int
    reasons: list[str]


class Placement(Contract, frozen=True, kw_only=True):
    """What a request would get now, or would not; nothing is reserved by asking."""

    strategy: Strategy
    device_id: UUID | None
    node_id: UUID | None
    nodes: list[NodeVerdict]


class AllocationRequest(Contract, frozen=True, kw_only=True):
    """`place` in the queue from 1, None once it waits no more; `failure` says why it was refused or expired."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    order_id: UUID | None
    constraints: Constraints
    strategy: Strategy
    state: RequestState
    place: int | None
    deadline_at: datetime
    created_at: datetime
    allocation: Allocation | None
    failure: str | None


class AllocationRelease(Request, frozen=True, kw_only=True):
    fencing_token: int
    reason: Annotated[str, Meta(min_length=1, max_length=200)] = "released"


class AllocationConfirm(Request, frozen=True, kw_only=True):
    fencing_token: int


class AllocationRenew(Request, frozen=True, kw_only=True):
    """The lease then lasts `lease_seconds` from now."""

    fencing_token: int
    lease_seconds: Annotated[int, Meta(ge=10, le=86_400)]


class NodeReport(Request, frozen=True, kw_only=True):
    """A node's heartbeat. Loads from 0 to 1, sizes in bytes."""

    cpu_load: Annotated[float, Meta(ge=0, le=1)]
    memory_used: Annotated[int, Meta(ge=0)]
    memory_total: Annotated[int, Meta(ge=0)]
    storage_used: Annotated[int, Meta(ge=0)]
    storage_total: Annotated[int, Meta(ge=0)]
    devices_running: Annotated[int, Meta(ge=0)]


class NodeResources(Contract, frozen=True, kw_only=True):
    """What the scheduler knows of a node: `idle` devices can be allocated, `live` ones are."""

    node_id: UUID
    name: str
    region: str
    status: str
    health: NodeHealth
    capacity: int
    weight: int
    labels: dict[str, str]
    devices: int
    idle: int
    live: int
    last_heartbeat_at: datetime | None
    report: NodeReport | None


class SchedulerSettings(Request, frozen=True, kw_only=True):
    strategy: Strategy

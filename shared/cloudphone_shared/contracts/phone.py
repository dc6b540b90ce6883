"""What goes on with a device's phone: input, files, vital signs, snapshots, grants, reconciliation."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from ..errors import Conflict
from .common import Contract, Email, Name, Request

Coordinate = Annotated[int, Meta(ge=0, le=16_384)]
Milliseconds = Annotated[int, Meta(ge=0, le=10_000)]


class Tap(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="tap", forbid_unknown_fields=True):
    x: Coordinate
    y: Coordinate


class Swipe(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="swipe", forbid_unknown_fields=True):
    x1: Coordinate
    y1: Coordinate
    x2: Coordinate
    y2: Coordinate
    duration_ms: Milliseconds = 300


class TypedText(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="text", forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


Key = Literal["home", "back", "recents", "power", "volume_up", "volume_down", "enter", "delete", "tab", "menu"]


class KeyPress(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="key", forbid_unknown_fields=True):
    key: Key


InputEvent = Tap | Swipe | TypedText | KeyPress
InputEvents = Annotated[list[InputEvent], Meta(min_length=1, max_length=50)]
MOST_MIRRORED = 100


class InputCreate(Request, frozen=True, kw_only=True):
    """In their order. There is no way to a shell from here."""

    events: InputEvents


class MirrorCreate(Request, frozen=True, kw_only=True):
    """The same input on many phones at once."""

    device_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MOST_MIRRORED)]
    events: InputEvents


class MirroredItem(Contract, frozen=True, kw_only=True):
    """`done_after_ms`: from the call's arrival to this phone's last event; None where it failed, which `error` says."""

    device_id: UUID
    done_after_ms: float | None
    error: str | None = None


class Mirrored(Contract, frozen=True, kw_only=True):
    """`skew_p95_ms`: between the first phone to be done and 95 of 100; None when fewer than two were."""

    items: list[MirroredItem]
    skew_p95_ms: float | None


class PhoneRefuses(Conflict):
    """`reason`: the phone's own word, or ours: `input_refused`, `no_screenshot`, `no_space`, `file_refused`."""

    code = "phone-refused"
    title = "The phone does not do this"


class Vitals(Contract, frozen=True, kw_only=True):
    """As of `at`; CPU from 0 to 1 of all cores, sizes in bytes. `foreground`: the package in front, None: none."""

    device_id: UUID
    at: datetime
    online: bool
    cpu_load: float | None
    memory_used: int | None
    memory_total: int | None
    storage_used: int | None
    storage_total: int | None
    foreground: str | None
    last_seen_at: datetime | None


class PhoneFile(Contract, frozen=True, kw_only=True):
    """`size` in bytes; a folder's is 0."""

    path: str
    folder: bool
    size: int
    modified_at: datetime


SnapshotState = Literal["creating", "ready", "failed", "restoring", "deleting"]


class Snapshot(Contract, frozen=True, kw_only=True):
    """`size` in bytes and `sha256` once it is ready."""

    id: UUID
    device_id: UUID
    tenant_id: UUID
    name: str
    state: SnapshotState
    size: int | None
    sha256: str | None
    failure: str | None
    created_at: datetime


class SnapshotCreate(Request, frozen=True, kw_only=True):
    name: Name


class RestoreCreate(Request, frozen=True, kw_only=True):
    snapshot_id: UUID


Access = Literal["view", "control"]


class Grant(Contract, frozen=True, kw_only=True):
    """One user's leave to see, or to control, a device of another, until then or until it is revoked."""

    id: UUID
    device_id: UUID
    device_name: str
    tenant_id: UUID
    owner_id: UUID
    user_id: UUID
    user_name: str
    access: Access
    until: datetime
    created_at: datetime


class GrantCreate(Request, frozen=True, kw_only=True):
    """To a user of the same tenant, named by e-mail address; at most 30 days."""

    email: Email
    access: Access = "view"
    seconds: Annotated[int, Meta(ge=60, le=30 * 86_400)]


Finding = Literal[
    "container_without_row", "row_without_container", "volume_without_row", "state_differs", "crashed",
    "address_differs",
]  # fmt: skip


class ReconcileFinding(Contract, frozen=True, kw_only=True):
    """`repair` says what was done about it, None: nothing yet; `subject` names the container, volume or device."""

    kind: Finding
    device_id: UUID | None
    subject: str
    detail: str
    repair: str | None


class ReconcileReport(Contract, frozen=True, kw_only=True):
    """One comparison of containers with rows. Foreign containers are only counted."""

    id: UUID
    provider: str
    started_at: datetime
    finished_at: datetime | None
    rows: int
    containers: int
    foreign: int
    findings: list[ReconcileFinding]
    failure: str | None
    figures: dict[str, Any] = {}

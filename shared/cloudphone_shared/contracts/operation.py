"""Long work on a device, as the device service answers it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from .common import Contract, Request

OperationKind = Literal[
    "start", "stop", "reboot", "reset", "clean", "delete", "freeze", "unfreeze", "snapshot", "restore",
    "delete_snapshot", "install", "uninstall",
]  # fmt: skip
OperationState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
BatchAction = Literal["start", "stop", "reboot", "reset", "clean", "delete", "freeze", "unfreeze"]
Command = Literal["start", "stop", "reboot", "reset", "clean", "freeze", "unfreeze"]
"""What is asked for by a device's path of that name."""

MOST_IN_BATCH = 500


class OperationError(Contract, frozen=True, kw_only=True):
    """`code` for programs, `detail` a sentence."""

    code: str
    detail: str


class Operation(Contract, frozen=True, kw_only=True):
    """`progress` in percent; `step` says what is being done, in words. `result` depends on the kind."""

    id: UUID
    kind: OperationKind
    device_id: UUID
    tenant_id: UUID
    state: OperationState
    progress: int
    step: str
    error: OperationError | None
    result: dict[str, Any] | None
    batch_id: UUID | None
    requested_by: str
    attempt: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class BatchCreate(Request, frozen=True, kw_only=True):
    """The same for many devices; each is accepted or refused by itself."""

    action: BatchAction
    device_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class BatchItem(Contract, frozen=True, kw_only=True):
    """Either the device's operation, or why there is none."""

    device_id: UUID
    operation: Operation | None = None
    problem: OperationError | None = None


class Batch(Contract, frozen=True, kw_only=True):
    """In the order that the devices were named; one that is named twice appears once."""

    id: UUID
    action: BatchAction
    items: list[BatchItem]

"""What the cache worker answers about warm-ups, and what it asks of the BFFs that fill the views."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from .common import Contract, Request

RunState = Literal["queued", "running", "succeeded", "partial", "failed"]
Outcome = Literal["filled", "skipped", "failed"]


class WarmupFailure(Contract, frozen=True, kw_only=True):
    """`key` is the view's key, or the BFF's name when its plan could not be had."""

    key: str
    reason: str


class WarmupRun(Contract, frozen=True, kw_only=True):
    """One run: `total` views planned, of which `filled`, `skipped` (fresh already) and `failed` so far.

    A run is partial when some of it failed, a single view or a BFF that could not plan: see `failures`, which are told
    to who sees all tenants. It fails when nothing could be planned, when every view failed, or when its process died.
    """

    id: UUID
    trigger: Literal["schedule", "manual"]
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    filled: int
    skipped: int
    failed: int
    duration_ms: int | None
    failures: list[WarmupFailure]


class WarmupStatus(Contract, frozen=True, kw_only=True):
    """`leader` is the process that runs them; `next_run_at` None while paused or without a leader."""

    schedule: str
    paused: bool
    leader: str | None
    next_run_at: datetime | None
    current: WarmupRun | None
    last: WarmupRun | None


class WarmupSchedule(Request, frozen=True, kw_only=True):
    """`cron`: five fields, UTC, as in `*/5 * * * *`."""

    cron: Annotated[str, Meta(min_length=9, max_length=120, pattern=r"^[^\x00-\x1f]*$")]


class WarmupKey(Contract, frozen=True, kw_only=True):
    """One view by name and parameters, as in `device:full`, `{"device_id": …}`."""

    view: str
    params: dict[str, str]

    @classmethod
    def of(cls, view: str, **params: UUID) -> "WarmupKey":
        return cls(view=view, params={name: str(value) for name, value in params.items()})


class WarmupPlan(Contract, frozen=True, kw_only=True):
    """What a BFF would have ready, the most important first."""

    keys: list[WarmupKey]


class WarmupFill(Request, frozen=True, kw_only=True):
    keys: Annotated[list[WarmupKey], Meta(min_length=1, max_length=100)]


class WarmupResult(Contract, frozen=True, kw_only=True):
    """`reason` says why it failed; `ms` what it took: its share of the batch that it was composed in."""

    key: str
    outcome: Outcome
    reason: str = ""
    ms: float = 0.0

"""Asking the cache worker about warm-ups, and asking a BFF to fill views."""

from typing import Any
from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.warmup import WarmupFill, WarmupPlan, WarmupResult, WarmupRun, WarmupSchedule, WarmupStatus
from ..http.client import ServiceClient, path_of


class WarmupClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def status(self, *, bearer: Bearer | None = None) -> WarmupStatus:
        return await self.http.get("/v1/warmups", WarmupStatus, bearer=bearer)

    async def runs(
        self, *, limit: int = 20, cursor: str | None = None, bearer: Bearer | None = None
    ) -> Page[WarmupRun]:
        """Latest first."""
        params: dict[str, Any] = {"limit": limit, "cursor": cursor}
        return await self.http.get("/v1/warmups/runs", Page[WarmupRun], params=params, bearer=bearer)

    async def run(self, run_id: UUID | str, *, bearer: Bearer | None = None) -> WarmupRun:
        return await self.http.get(path_of("/v1/warmups/runs/{}", run_id), WarmupRun, bearer=bearer)

    async def trigger(self, *, bearer: Bearer | None = None) -> WarmupRun:
        """A new run, or the one that is queued or running already."""
        return await self.http.send("POST", "/v1/warmups/runs", WarmupRun, bearer=bearer)

    async def pause(self, *, bearer: Bearer | None = None) -> WarmupStatus:
        return await self.http.send("POST", "/v1/warmups/pause", WarmupStatus, bearer=bearer)

    async def resume(self, *, bearer: Bearer | None = None) -> WarmupStatus:
        return await self.http.send("POST", "/v1/warmups/resume", WarmupStatus, bearer=bearer)

    async def reschedule(self, schedule: WarmupSchedule, *, bearer: Bearer | None = None) -> WarmupStatus:
        """Raises Invalid for what is not a cron expression."""
        return await self.http.send("PUT", "/v1/warmups/schedule", WarmupStatus, schedule, bearer=bearer)


class FillClient:
    """A BFF, as the warm-up asks it."""

    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    @property
    def name(self) -> str:
        return self.http.service

    async def plan(self, users: int) -> WarmupPlan:
        return await self.http.get("/internal/warmup/plan", WarmupPlan, params={"users": users})

    async def fill(self, keys: WarmupFill) -> list[WarmupResult]:
        return await self.http.send("POST", "/internal/warmup/fill", list[WarmupResult], keys)

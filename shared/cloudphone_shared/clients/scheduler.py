"""Asking the scheduler. Nothing of it is cached: its answers name no entities."""

from uuid import UUID

from ..auth import Bearer
from ..contracts.common import Page
from ..contracts.scheduler import (
    Allocation,
    AllocationConfirm,
    AllocationCreate,
    AllocationRelease,
    AllocationRenew,
    AllocationRequest,
    NodeReport,
    NodeResources,
    Placement,
    SchedulerSettings,
)
from ..http.client import ServiceClient, path_of
from .listing import Listing


class SchedulerClient:
    def __init__(self, http: ServiceClient) -> None:
        self.http = http

    async def allocate(
        self, wanted: AllocationCreate, bearer: Bearer, *, idempotency_key: str | None = None
    ) -> AllocationRequest:
        """Placed, with its allocation, or queued. Raises Conflict (`no-device-fits`, with `nodes`) when nothing fits
        and `wait_seconds` is 0; Invalid for a user who is not there, or not active."""
        return await self.http.send(
            "POST", "/v1/allocations", AllocationRequest, wanted, bearer=bearer, idempotency_key=idempotency_key
        )

    async def page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[Allocation]:
        """Latest first. Filters: `state`, `userId`, `deviceId`, `nodeId`."""
        return await self.http.get("/v1/allocations", Page[Allocation], params=listing.params(), bearer=bearer)

    async def allocation(self, allocation_id: UUID | str, *, bearer: Bearer | None = None) -> Allocation:
        return await self.http.get(path_of("/v1/allocations/{}", allocation_id), Allocation, bearer=bearer)

    async def release(self, allocation_id: UUID | str, release: AllocationRelease, bearer: Bearer) -> Allocation:
        """Raises Conflict (`stale-token`) for a token that is not the allocation's."""
        path = path_of("/v1/allocations/{}/release", allocation_id)
        return await self.http.send("POST", path, Allocation, release, bearer=bearer)

    async def confirm(self, allocation_id: UUID | str, confirm: AllocationConfirm, bearer: Bearer) -> Allocation:
        """Without a lease from now on. Raises StateConflict unless it is active."""
        path = path_of("/v1/allocations/{}/confirm", allocation_id)
        return await self.http.send("POST", path, Allocation, confirm, bearer=bearer)

    async def renew(self, allocation_id: UUID | str, renew: AllocationRenew, bearer: Bearer) -> Allocation:
        """Raises StateConflict unless it is active."""
        path = path_of("/v1/allocations/{}/renew", allocation_id)
        return await self.http.send("POST", path, Allocation, renew, bearer=bearer)

    async def request_page(self, listing: Listing, *, bearer: Bearer | None = None) -> Page[AllocationRequest]:
        """Latest first. Filter: `state`."""
        return await self.http.get(
            "/v1/allocation-requests", Page[AllocationRequest], params=listing.params(), bearer=bearer
        )

    async def request(self, request_id: UUID | str, *, bearer: Bearer | None = None) -> AllocationRequest:
        return await self.http.get(path_of("/v1/allocation-requests/{}", request_id), AllocationRequest, bearer=bearer)

    async def explanation(self, request_id: UUID | str, *, bearer: Bearer | None = None) -> Placement:
        """Why a request still waits, node by node. Raises Conflict for one that does not."""
        path = path_of("/v1/allocation-requests/{}/explanation", request_id)
        return await self.http.get(path, Placement, bearer=bearer)

    async def cancel(self, request_id: UUID | str, bearer: Bearer) -> AllocationRequest:
        """Raises StateConflict unless it waits."""
        path = path_of("/v1/allocation-requests/{}", request_id)
        return await self.http.send("DELETE", path, AllocationRequest, bearer=bearer)

    async def simulate(self, wanted: AllocationCreate, bearer: Bearer) -> Placement:
        return await self.http.send("POST", "/v1/placements/simulate", Placement, wanted, bearer=bearer)

    async def nodes(self, *, bearer: Bearer | None = None) -> list[NodeResources]:
        """All of them, by name."""
        return await self.http.get("/v1/scheduler/nodes", list[NodeResources], bearer=bearer)

    async def settings(self, *, bearer: Bearer | None = None) -> SchedulerSettings:
        return await self.http.get("/v1/scheduler/settings", SchedulerSettings, bearer=bearer)

    async def change_settings(self, settings: SchedulerSettings, bearer: Bearer) -> SchedulerSettings:
        return await self.http.send("PUT", "/v1/scheduler/settings", SchedulerSettings, settings, bearer=bearer)

    async def heartbeat(self, node_id: UUID | str, report: NodeReport) -> None:
        await self.http.send("POST", path_of("/v1/nodes/{}/heartbeat", node_id), type(None), report)

"""Who was given which device, and who waits for one, from the scheduler as it stands."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Page
from cloudphone_shared.contracts.scheduler import (
    Allocation,
    AllocationRequest,
    AllocationState,
    Placement,
    RequestState,
)
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get(
    "/admin/allocations",
    tags=["allocations"],
    guards=[staff("allocations:read"), only_parameters("state", "userId", "deviceId", "nodeId")],
    responses=problems(),
)
async def list_allocations(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[AllocationState | None, QueryParameter(name="state")] = None,
    user_id: Annotated[UUID | None, QueryParameter(name="userId")] = None,
    device_id: Annotated[UUID | None, QueryParameter(name="deviceId")] = None,
    node_id: Annotated[UUID | None, QueryParameter(name="nodeId")] = None,
) -> Page[Allocation]:
    """Allocations, latest first."""
    listing = asked.listing(state=present_state, userId=user_id, deviceId=device_id, nodeId=node_id)
    return await core.scheduler.page(listing, bearer=passing_on(caller))


@get(
    "/admin/allocations/{allocation_id:uuid}",
    tags=["allocations"],
    guards=[staff("allocations:read")],
    responses=problems(404),
)
async def show_allocation(
    allocation_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Allocation:
    """An allocation, with the token that a release needs."""
    return await core.scheduler.allocation(allocation_id, bearer=passing_on(caller))


@get(
    "/admin/allocation-requests",
    tags=["allocations"],
    guards=[staff("allocations:read"), only_parameters("state")],
    responses=problems(),
)
async def list_allocation_requests(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[RequestState | None, QueryParameter(name="state")] = None,
) -> Page[AllocationRequest]:
    """Requests for a device, latest first; those that wait have a place in the queue."""
    return await core.scheduler.request_page(asked.listing(state=present_state), bearer=passing_on(caller))


@get(
    "/admin/allocation-requests/{request_id:uuid}",
    tags=["allocations"],
    guards=[staff("allocations:read")],
    responses=problems(404),
)
async def show_allocation_request(
    request_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> AllocationRequest:
    """A request for a device: where it stands in the queue, or what it got."""
    return await core.scheduler.request(request_id, bearer=passing_on(caller))


@get(
    "/admin/allocation-requests/{request_id:uuid}/explanation",
    tags=["allocations"],
    guards=[staff("allocations:read")],
    responses=problems(404, 409),
)
async def explain_allocation_request(
    request_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Placement:
    """Why a request still waits: node by node, in words."""
    return await core.scheduler.explanation(request_id, bearer=passing_on(caller))

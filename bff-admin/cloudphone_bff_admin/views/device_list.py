"""The list of devices: a page of ids from the device service, a card each from the cache."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, items_in_order, one_noted
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Page
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems

from ..shown import ShownDeviceSummary
from ..staff import staff
from .people import Person, people


class DeviceCard(Contract, frozen=True, kw_only=True):
    """`owner` is null for an unassigned device, and while the user service is away."""

    device: ShownDeviceSummary
    owner: Person | None


device_card = View("device:card:{device_id}", DeviceCard, fresh_for=300, serve_stale_for=3600)


@device_card.segment
async def device(core: CoreClients, device_id: str) -> ShownDeviceSummary:
    return ShownDeviceSummary.of(await one_noted("device", core.device.get_many([device_id]), device_id))


@device_card.many("device")
async def devices(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.get_many(device_id), device_id, ShownDeviceSummary.of)


@device_card.segment(given=lambda device: device.owner_id)
async def owner(core: CoreClients, device: ShownDeviceSummary) -> Person | None:
    return None if device.owner_id is None else Person.of(await core.user.get(device.owner_id))


@device_card.many("owner")
async def owners(core: CoreClients, device: Sequence[ShownDeviceSummary]) -> list[Answered | None]:
    return await people(core, [each.owner_id for each in device])


@device_card.audience
def audience(device: ShownDeviceSummary) -> Audience:
    return Audience(tenant=str(device.tenant_id), owner=device.owner_id and str(device.owner_id))


_FILTERS = ("state", "ownerId", "nodeId", "tag", "tenantId", "assigned")


@get(
    "/admin/devices",
    tags=["devices"],
    guards=[staff("devices:read"), only_parameters(*_FILTERS)],
    responses=problems(),
)
async def list_devices(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    screens: NamedDependency[Screens],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[DeviceState | None, QueryParameter(name="state")] = None,
    owner_id: Annotated[UUID | None, QueryParameter(name="ownerId")] = None,
    node_id: Annotated[UUID | None, QueryParameter(name="nodeId")] = None,
    tag: Annotated[str | None, QueryParameter(max_length=40)] = None,
    tenant_id: Annotated[UUID | None, QueryParameter(name="tenantId")] = None,
    assigned: Annotated[bool | None, QueryParameter()] = None,
) -> Response[Page[DeviceCard]]:
    """Devices, as cards. Sorted by `name`, `state`, `ownerName`, `createdAt` or `updatedAt`; `-` before it descends."""
    listing = asked.listing(
        state=present_state, ownerId=owner_id, nodeId=node_id, tag=tag, tenantId=tenant_id, assigned=assigned
    )
    page = await core.device.page(listing, bearer=passing_on(caller))
    return await screens.cards(device_card, [{"device_id": each} for each in page.items], page.next_cursor)

"""The caller's devices: a page of ids from the device service, a card each from the cache."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, items_in_order, one_noted
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract, Page
from cloudphone_shared.contracts.device import DeviceState, DeviceSummary
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters
from cloudphone_shared.http.problems import problems


class MyDeviceSummary(Contract, frozen=True, kw_only=True):
    """`owner_id` is the caller."""

    id: UUID
    name: str
    owner_id: UUID | None
    state: DeviceState
    tags: list[str]
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def of(device: DeviceSummary) -> "MyDeviceSummary":
        return msgspec.convert(device, MyDeviceSummary, from_attributes=True)


class MyDeviceCard(Contract, frozen=True, kw_only=True):
    """`apps`: how many stand installed; null while the app service is away."""

    device: MyDeviceSummary
    apps: int | None


my_device_card = View("my:device-card:{device_id}", MyDeviceCard, fresh_for=300, serve_stale_for=3600)


@my_device_card.segment
async def device(core: CoreClients, device_id: str) -> MyDeviceSummary:
    return MyDeviceSummary.of(await one_noted("device", core.device.get_many([device_id]), device_id))


@my_device_card.many("device")
async def devices(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.get_many(device_id), device_id, MyDeviceSummary.of)


@my_device_card.segment
async def apps(core: CoreClients, device_id: str) -> int:
    return await one_noted("app", core.app.installation_counts([device_id]), device_id)


@my_device_card.many("apps")
async def apps_of_many(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("app", await core.app.installation_counts(device_id), device_id)


@my_device_card.audience
def audience(device: MyDeviceSummary) -> Audience:
    return Audience(owner=device.owner_id and str(device.owner_id))


@get(
    "/my/devices",
    tags=["devices"],
    guards=[requires("devices:read"), only_parameters("state", "tag")],
    responses=problems(),
)
async def list_my_devices(
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    screens: NamedDependency[Screens],
    asked: NamedDependency[ListQuery],
    present_state: Annotated[DeviceState | None, QueryParameter(name="state")] = None,
    tag: Annotated[str | None, QueryParameter(max_length=40)] = None,
) -> Response[Page[MyDeviceCard]]:
    """The caller's devices, as cards. Sorted by `name`, `state`, `createdAt` or `updatedAt`; `-` before it descends."""
    listing = asked.listing(state=present_state, tag=tag, ownerId=caller.id)
    page = await core.device.page(listing, bearer=passing_on(caller))
    return await screens.cards(my_device_card, [{"device_id": each} for each in page.items], page.next_cursor)

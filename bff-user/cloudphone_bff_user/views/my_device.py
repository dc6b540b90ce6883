"""One of the caller's devices: what a customer may know of it, its applications and its use."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, items_in_order
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import DeviceUsage
from cloudphone_shared.contracts.device import Device, DeviceState, TemplateSummary
from cloudphone_shared.errors import NotFound

from ..installations import MyInstallation
from ..operations import MyOperation
from ..portal import screen


class MyDevice(Contract, frozen=True, kw_only=True):
    """A device without what only administrators may know: its node, address, tenant and provider.

    `owner_id` is the caller. `version` is the device's own, as `"v<version>"` in If-Match.
    """

    id: UUID
    name: str
    owner_id: UUID
    state: DeviceState
    template: TemplateSummary
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    version: int

    @staticmethod
    def of(device: Device) -> "MyDevice":
        """Raises NotFound for a device that nobody holds: in the portal there is none."""
        if device.owner_id is None:
            raise NotFound
        return msgspec.convert(device, MyDevice, from_attributes=True)


class MyDeviceFull(Contract, frozen=True, kw_only=True):
    """`operation` is null while nothing is being done on it; every part but the device may be null while its service is
    away."""

    device: MyDevice
    applications: list[MyInstallation] | None
    usage: DeviceUsage | None
    operation: MyOperation | None


my_device = View("my:device:{device_id}", MyDeviceFull, fresh_for=300, serve_stale_for=3600)


@my_device.segment
async def device(core: CoreClients, device_id: str) -> MyDevice:
    return MyDevice.of(await core.device.get(device_id))


@my_device.many("device")
async def devices(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.get_many_full(device_id), device_id, MyDevice.of)


@my_device.segment
async def applications(core: CoreClients, device_id: str) -> list[MyInstallation]:
    return MyInstallation.all_of(await core.app.installations(device_id))


@my_device.many("applications")
async def applications_of_many(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("app", await core.app.installations_of(device_id), device_id, MyInstallation.all_of)


@my_device.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, device_id: str) -> DeviceUsage:
    return await core.billing.usage(device_id)


@my_device.many("usage")
async def usage_of_many(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.usage_of_devices(device_id), device_id)


@my_device.segment
async def operation(core: CoreClients, device_id: str) -> MyOperation | None:
    present = await core.device.present_operation(device_id)
    return present and MyOperation.of(present)


@my_device.many("operation")
async def operations(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    present = await core.device.present_operations(device_id)
    return items_in_order("device", present, device_id, lambda each: each and MyOperation.of(each))


@my_device.audience
def audience(device: MyDevice) -> Audience:
    return Audience(owner=str(device.owner_id))


@screen("/my/devices/{device_id:uuid}", my_device, "devices:read", tags=["devices"])
async def show_my_device(device_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """One of the caller's devices, with its applications, its use in the present period and what is done on it now."""
    return await screens.show(my_device, device_id=device_id)

"""A device's screen: the device, its owner, its applications, its use and what is being done on it; four services, two
databases. How its phone does changes by the second and is a screen of its own."""

from collections.abc import Sequence
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Answered, Audience, View
from cloudphone_cache.platform.serving import Screens, each_of, items_in_order
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.app import Installation
from cloudphone_shared.contracts.billing import DeviceUsage
from cloudphone_shared.contracts.operation import Operation
from cloudphone_shared.contracts.user import User

from ..shown import ShownDevice
from ..staff import screen


class DeviceFull(Contract, frozen=True, kw_only=True):
    """`owner` is null for an unassigned device, `operation` while nothing is being done on it; every part but the
    device may be null while its service is away."""

    device: ShownDevice
    owner: User | None
    applications: list[Installation] | None
    usage: DeviceUsage | None
    operation: Operation | None


device_full = View("device:full:{device_id}", DeviceFull, fresh_for=300, serve_stale_for=3600)


@device_full.segment
async def device(core: CoreClients, device_id: str) -> ShownDevice:
    return ShownDevice.of(await core.device.get(device_id))


@device_full.many("device")
async def devices(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.get_many_full(device_id), device_id, ShownDevice.of)


@device_full.segment(given=lambda device: device.owner_id)
async def owner(core: CoreClients, device: ShownDevice) -> User | None:
    return None if device.owner_id is None else await core.user.get(device.owner_id)


@device_full.many("owner")
async def owners(core: CoreClients, device: Sequence[ShownDevice]) -> list[Answered | None]:
    return await each_of("user", core.user.get_many, [each.owner_id for each in device])


@device_full.segment
async def applications(core: CoreClients, device_id: str) -> list[Installation]:
    return await core.app.installations(device_id)


@device_full.many("applications")
async def applications_of_many(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("app", await core.app.installations_of(device_id), device_id)


@device_full.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, device_id: str) -> DeviceUsage:
    return await core.billing.usage(device_id)


@device_full.many("usage")
async def usage_of_many(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("billing", await core.billing.usage_of_devices(device_id), device_id)


@device_full.segment
async def operation(core: CoreClients, device_id: str) -> Operation | None:
    return await core.device.present_operation(device_id)


@device_full.many("operation")
async def operations(core: CoreClients, device_id: Sequence[str]) -> list[Answered | None]:
    return items_in_order("device", await core.device.present_operations(device_id), device_id)


@device_full.audience
def audience(device: ShownDevice) -> Audience:
    return Audience(tenant=str(device.tenant_id), owner=device.owner_id and str(device.owner_id))


@screen("/admin/devices/{device_id:uuid}", device_full, "devices:read", 404, tags=["devices"])
async def show_device(device_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """A device with its owner, applications, use in the present period and what is being done on it."""
    return await screens.show(device_full, device_id=device_id)

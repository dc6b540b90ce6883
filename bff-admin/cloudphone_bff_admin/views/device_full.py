"""A device's screen: the device, its owner, its applications and its use; four services, two databases."""

from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.app import Installation
from cloudphone_shared.contracts.billing import DeviceUsage
from cloudphone_shared.contracts.user import User

from ..shown import ShownDevice
from ..staff import screen


class DeviceFull(Contract, frozen=True, kw_only=True):
    """`owner` is null for an unassigned device; every part but the device may be null while its service is away."""

    device: ShownDevice
    owner: User | None
    applications: list[Installation] | None
    usage: DeviceUsage | None


device_full = View("device:full:{device_id}", DeviceFull, fresh_for=300, serve_stale_for=3600)


@device_full.segment
async def device(core: CoreClients, device_id: str) -> ShownDevice:
    return ShownDevice.of(await core.device.get(device_id))


@device_full.segment(given=lambda device: device.owner_id)
async def owner(core: CoreClients, device: ShownDevice) -> User | None:
    return None if device.owner_id is None else await core.user.get(device.owner_id)


@device_full.segment
async def applications(core: CoreClients, device_id: str) -> list[Installation]:
    return await core.app.installations(device_id)


@device_full.segment(until=lambda usage: usage.period_end.timestamp())
async def usage(core: CoreClients, device_id: str) -> DeviceUsage:
    return await core.billing.usage(device_id)


@device_full.audience
def audience(device: ShownDevice) -> Audience:
    return Audience(tenant=str(device.tenant_id), owner=device.owner_id and str(device.owner_id))


@screen("/admin/devices/{device_id:uuid}", device_full, "devices:read", 404, tags=["devices"])
async def show_device(device_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """A device with its owner, applications and use in the present period."""
    return await screens.show(device_full, device_id=device_id)

"""Who holds a device, for support on the telephone: the account and what is on it."""

from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.billing import Balance
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.user import User

from ..staff import screen


class DeviceHolder(Contract, frozen=True, kw_only=True):
    """`holder` and `balance` are null for a device that nobody holds, and while their service is away."""

    device: Device
    holder: User | None
    balance: Balance | None


device_holder = View("device:holder:{device_id}", DeviceHolder, fresh_for=300, serve_stale_for=3600)


@device_holder.segment
async def device(core: CoreClients, device_id: str) -> Device:
    return await core.device.get(device_id)


@device_holder.segment(given=lambda device: device.owner_id)
async def holder(core: CoreClients, device: Device) -> User | None:
    return None if device.owner_id is None else await core.user.get(device.owner_id)


@device_holder.segment(given=lambda device: device.owner_id)
async def balance(core: CoreClients, device: Device) -> Balance | None:
    return None if device.owner_id is None else await core.billing.ledger.balance(device.owner_id)


@device_holder.audience
def audience(device: Device) -> Audience:
    return Audience(tenant=str(device.tenant_id), owner=device.owner_id and str(device.owner_id))


@screen("/admin/devices/{device_id:uuid}/holder", device_holder, "users:read", 404, tags=["devices"])
async def show_device_holder(device_id: FromPath[UUID], screens: NamedDependency[Screens]) -> ASGIApp:
    """Who holds a device, with contact data and balance."""
    return await screens.show(device_holder, device_id=device_id)

"""Devices that others share with the caller: which they are, and one of them as far as it is shown to a guest."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from cloudphone_cache import Audience, View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.device import Device, DeviceState, TemplateSummary
from cloudphone_shared.contracts.phone import Access, Grant
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.problems import problems

from ..portal import screen


class SharedWithMe(Contract, frozen=True, kw_only=True):
    """The caller's leave: `control` covers `view`. `user_id` is the caller, `owner_id` who gave it."""

    id: UUID
    device_id: UUID
    device_name: str
    owner_id: UUID
    user_id: UUID
    access: Access
    until: datetime

    @staticmethod
    def of(grant: Grant) -> "SharedWithMe":
        return msgspec.convert(grant, SharedWithMe, from_attributes=True)


class SharedDevice(Contract, frozen=True, kw_only=True):
    id: UUID
    name: str
    state: DeviceState
    template: TemplateSummary

    @staticmethod
    def of(device: Device) -> "SharedDevice":
        return msgspec.convert(device, SharedDevice, from_attributes=True)


class MySharedDevice(Contract, frozen=True, kw_only=True):
    """`device` is null while its service is away."""

    grant: SharedWithMe
    device: SharedDevice | None


my_shared_device = View("my:shared:{device_id}:{user_id}", MySharedDevice, fresh_for=300, serve_stale_for=3600)


# What cannot be confirmed is not shown as it was: it may have been revoked since.
@my_shared_device.segment(until=lambda grant: grant.until.timestamp(), kept=False)
async def grant(core: CoreClients, device_id: str, user_id: str) -> SharedWithMe:
    return SharedWithMe.of(await core.device.grant(device_id, user_id))


@my_shared_device.segment
async def device(core: CoreClients, device_id: str) -> SharedDevice:
    return SharedDevice.of(await core.device.get(device_id))


@my_shared_device.audience
def audience(grant: SharedWithMe) -> Audience:
    return Audience(owner=str(grant.user_id))


@get("/my/shared-devices", tags=["sharing"], guards=[requires("devices:read")], responses=problems())
async def list_shared_devices(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> list[SharedWithMe]:
    """The devices that others share with the caller at present, the latest shared first."""
    return [SharedWithMe.of(each) for each in await core.device.grants_of(caller.id, bearer=passing_on(caller))]


@screen("/my/shared-devices/{device_id:uuid}", my_shared_device, "devices:read", tags=["sharing"])
async def show_shared_device(
    device_id: FromPath[UUID], caller: NamedDependency[Caller], screens: NamedDependency[Screens]
) -> ASGIApp:
    """A device that another shares with the caller, until the grant ends. Its screen and controls are where those of
    the caller's own devices are."""
    return await screens.show(my_shared_device, device_id=device_id, user_id=caller.id)

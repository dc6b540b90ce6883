"""Logical foreign keys that more than one service has: whether a device exists, and is the caller's to name."""

from uuid import UUID

from .. import entities
from ..auth import Caller, passing_on
from ..contracts.device import Device
from ..errors import NotFound
from .core import CoreClients


async def device_named(core: CoreClients, caller: Caller, device_id: UUID) -> Device:
    """Raises NotFound for a device outside the caller's data scope."""
    try:
        device = await core.device.get(device_id)
    except NotFound as error:
        raise NotFound("There is no such device", entities=error.entities) from None
    if not caller.sees(device.tenant_id, device.owner_id):
        raise NotFound("There is no such device", entities={entities.device(device_id): device.version})
    return device


async def may_see_device(core: CoreClients, caller: Caller, device_id: UUID) -> None:
    """Raises NotFound unless the device is within the caller's data scope."""
    if caller.data_scope != "all":
        await core.device.get(device_id, bearer=passing_on(caller))

"""Logical foreign keys: whether a device exists, and is the caller's, is asked of the device service."""

from uuid import UUID

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.errors import NotFound


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

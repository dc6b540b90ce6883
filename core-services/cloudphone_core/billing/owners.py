"""Logical foreign keys: whether a user or a device exists, and is the caller's to name, is asked of its owner."""

from uuid import UUID

from cloudphone_shared import entities
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.device import Device
from cloudphone_shared.contracts.user import User
from cloudphone_shared.errors import Conflict, NotFound


async def user_named(core: CoreClients, caller: Caller, user_id: UUID) -> User:
    """Raises NotFound for a user outside the caller's data scope."""
    try:
        user = await core.user.get(user_id)
    except NotFound as error:
        raise NotFound("There is no such user", entities=error.entities) from None
    if not caller.sees(user.tenant_id, user.id):
        raise NotFound("There is no such user", entities={entities.user(user_id): user.version})
    return user


async def active_user(core: CoreClients, caller: Caller, user_id: UUID) -> User:
    user = await user_named(core, caller, user_id)
    if user.status != "active":
        raise Conflict(f"The user is {user.status}", status=user.status)
    return user


async def device_for(core: CoreClients, device_id: UUID, *, tenant_id: UUID, owner_id: UUID | None = None) -> Device:
    """A device of the tenant; of `owner_id` where that is given. Raises NotFound for any other."""
    try:
        device = await core.device.get(device_id)
    except NotFound as error:
        raise NotFound("There is no such device", entities=error.entities) from None
    if device.tenant_id != tenant_id or (owner_id is not None and device.owner_id != owner_id):
        raise NotFound("There is no such device", entities={entities.device(device_id): device.version})
    return device


async def may_see_user(core: CoreClients, caller: Caller, user_id: UUID) -> None:
    """Raises NotFound unless the user is within the caller's data scope."""
    if caller.data_scope == "tenant" and str(user_id) != caller.id:
        await core.user.get(user_id, bearer=passing_on(caller))
    elif not caller.sees(caller.tenant_id, user_id):
        raise NotFound("There is no such user")

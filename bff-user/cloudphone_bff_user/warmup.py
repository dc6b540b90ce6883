"""What is warmed: for the most recently active customers their first screen, then their devices."""

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey

from .views.my_device import my_device
from .views.my_home import my_home

_DEVICES_EACH = 10


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users) if user.role == "customer"]
    held = await core.device.first_held_by(active, _DEVICES_EACH)
    keys: list[WarmupKey] = []
    for user_id in active:
        keys.append(WarmupKey.of(my_home.name, user_id=user_id))
        keys += [WarmupKey.of(my_device.name, device_id=device_id) for device_id in held.get(user_id, [])]
    return keys

"""What is warmed: the dashboard, then for the most recently active users their own screen and their devices'."""

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey

from .views.dashboard import dashboard
from .views.device_full import device_full
from .views.user_full import user_full

_DEVICES_EACH = 10


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users)]
    held = await core.device.first_held_by(active, _DEVICES_EACH)
    keys = [WarmupKey.of(dashboard.name)]
    for user_id in active:
        keys.append(WarmupKey.of(user_full.name, user_id=user_id))
        keys += [WarmupKey.of(device_full.name, device_id=device_id) for device_id in held.get(user_id, [])]
    return keys

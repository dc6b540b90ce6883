"""What is warmed: the dashboard, then for the most recently active users their own screen and their devices'."""

import asyncio
from typing import Any
from uuid import UUID

from cloudphone_cache import View
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey

from .views.dashboard import dashboard
from .views.device_full import device_full
from .views.user_full import user_full

_DEVICES_EACH = 10
_AT_ONCE = 8


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users)]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def held_by(user_id: UUID) -> list[UUID]:
        async with slots:
            return await core.device.of_user(user_id)

    held = await asyncio.gather(*(held_by(user_id) for user_id in active))
    keys = [_key(dashboard)]
    for user_id, device_ids in zip(active, held, strict=True):
        keys.append(_key(user_full, user_id=user_id))
        keys += [_key(device_full, device_id=device_id) for device_id in device_ids[:_DEVICES_EACH]]
    return keys


def _key(view: View[Any], **params: UUID) -> WarmupKey:
    return WarmupKey(view=view.name, params={name: str(value) for name, value in params.items()})

"""What is warmed: for the most recently active customers their first screen, then their devices."""

import asyncio
from typing import Any
from uuid import UUID

from cloudphone_cache import View
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey

from .views.my_device import my_device
from .views.my_home import my_home

_DEVICES_EACH = 10
_AT_ONCE = 8


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users) if user.role == "customer"]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def held_by(user_id: UUID) -> list[UUID]:
        async with slots:
            return await core.device.of_user(user_id)

    held = await asyncio.gather(*(held_by(user_id) for user_id in active))
    keys: list[WarmupKey] = []
    for user_id, device_ids in zip(active, held, strict=True):
        keys.append(_key(my_home, user_id=user_id))
        keys += [_key(my_device, device_id=device_id) for device_id in device_ids[:_DEVICES_EACH]]
    return keys


def _key(view: View[Any], **params: UUID) -> WarmupKey:
    return WarmupKey(view=view.name, params={name: str(value) for name, value in params.items()})

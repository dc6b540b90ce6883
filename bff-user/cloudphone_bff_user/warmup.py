"""What is warmed: for the most recently active customers their first screen, then their devices."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cloudphone_cache import View
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey
from cloudphone_shared.http.batches import MOST_IDS

from .views.my_device import my_device
from .views.my_home import my_home

_DEVICES_EACH = 10


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users) if user.role == "customer"]
    held = await _held(core, active)
    keys: list[WarmupKey] = []
    for user_id in active:
        keys.append(_key(my_home, user_id=user_id))
        keys += [_key(my_device, device_id=device_id) for device_id in held.get(user_id, [])]
    return keys


async def _held(core: CoreClients, user_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """The first devices of each user."""
    held: dict[UUID, list[UUID]] = {}
    for start in range(0, len(user_ids), MOST_IDS):
        some = await core.device.held_by(user_ids[start : start + MOST_IDS], _DEVICES_EACH)
        held |= {UUID(user_id): [each.id for each in answer.data.items] for user_id, answer in some.found.items()}
    return held


def _key(view: View[Any], **params: UUID) -> WarmupKey:
    return WarmupKey(view=view.name, params={name: str(value) for name, value in params.items()})

"""What is warmed: the dashboard, then for the most recently active users their own screen and their devices'."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cloudphone_cache import View
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.warmup import WarmupKey
from cloudphone_shared.http.batches import MOST_IDS

from .views.dashboard import dashboard
from .views.device_full import device_full
from .views.user_full import user_full

_DEVICES_EACH = 10


async def candidates(core: CoreClients, users: int) -> list[WarmupKey]:
    """In order of importance. Raises Unavailable."""
    active = [user.id for user in await core.user.most_active(users)]
    held = await _held(core, active)
    keys = [_key(dashboard)]
    for user_id in active:
        keys.append(_key(user_full, user_id=user_id))
        keys += [_key(device_full, device_id=device_id) for device_id in held.get(user_id, [])]
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

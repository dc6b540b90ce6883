"""Takes in what was announced, in the order of the bus, and writes it into the streams of those it concerns."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import msgspec

from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.phone import Grant
from cloudphone_shared.errors import DomainError
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import DeviceDeleted, DeviceShared, DeviceUpdated

from .messages import Told, told
from .streams import Streams

BELIEVED_SECONDS = 5.0
"""For how long a device's holders are believed; what changes them is heard of in its turn."""
_DEVICES = 10_000
_CHANGING = frozenset({DeviceShared.type, DeviceUpdated.type, DeviceDeleted.type})


class Held(msgspec.Struct, frozen=True):
    owner: str | None
    grants: list[Grant]
    asked_at: float


class Holders:
    """Whose a device is, and who has been given it, as the device service says."""

    def __init__(self, core: CoreClients, clock: Callable[[], float] = time.time) -> None:
        self._core, self._clock = core, clock
        self._known: OrderedDict[UUID, Held] = OrderedDict()

    async def owner(self, device_id: UUID) -> frozenset[str]:
        """Raises Unavailable."""
        owner = (await self._held(device_id)).owner
        return frozenset([owner] if owner else [])

    async def granted(self, device_id: UUID) -> frozenset[str]:
        """Raises Unavailable."""
        held, now = await self._held(device_id), self._clock()
        return frozenset(str(grant.user_id) for grant in held.grants if grant.until.timestamp() > now)

    def heed(self, envelope: Envelope) -> None:
        if envelope.type in _CHANGING:
            device = msgspec.json.decode(envelope.data, type=_Device).device_id
            self._known.pop(device, None)

    async def _held(self, device_id: UUID) -> Held:
        now, known = self._clock(), self._known.get(device_id)
        if known is not None and now - known.asked_at <= BELIEVED_SECONDS:
            return known
        try:
            device, grants = await asyncio.gather(self._core.device.get(device_id), self._core.device.grants(device_id))
            found = Held(str(device.owner_id) if device.owner_id else None, grants, now)
        except DomainError:
            # A device that is gone is nobody's.
            found = Held(None, [], now)
        self._known[device_id] = found
        self._known.move_to_end(device_id)
        if len(self._known) > _DEVICES:
            self._known.popitem(last=False)
        return found


class _Device(msgspec.Struct, frozen=True, rename="camel"):
    device_id: UUID


class Writer:
    """A batch is written whole, or comes again; what was written before is passed over then."""

    def __init__(self, streams: Streams, holders: Holders) -> None:
        self._streams, self._holders = streams, holders

    async def write(self, envelopes: list[Envelope]) -> None:
        """Raises Unavailable while Redis or the device service is away."""
        of_users: dict[str, list[Told]] = {}
        for envelope in envelopes:
            self._holders.heed(envelope)
            if (one := told(envelope)) is not None:
                for user in await self._audience(one):
                    of_users.setdefault(user, []).append(one)
        await self._streams.write(of_users)

    async def _audience(self, one: Told) -> frozenset[str]:
        if one.shared_device is None:
            return one.users
        owner = one.users or (await self._holders.owner(one.shared_device) if one.owned else frozenset())
        return owner | await self._holders.granted(one.shared_device)

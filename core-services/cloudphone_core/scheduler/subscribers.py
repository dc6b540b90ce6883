"""What the scheduler does when others announce: billing asks and gives back, the fleet changes, devices answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.device import (
    DeviceAllocated,
    DeviceAllocationRefused,
    DeviceCreated,
    DeviceDeleted,
    DeviceStatusChanged,
    DeviceUpdated,
    NodeChanged,
    TemplateChanged,
)
from cloudphone_shared.events.scheduler import DeviceAllocateRequested, DeviceReleaseRequested, NodeOnline

from . import inventory, service
from .settings import Scheduling

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DEVICE_ALLOCATE = "scheduler.device-allocate"
DEVICE_RELEASE = "scheduler.device-release"
INVENTORY = "scheduler.inventory"
FLEET = (
    DeviceCreated,
    DeviceUpdated,
    DeviceDeleted,
    DeviceStatusChanged,
    NodeChanged,
    TemplateChanged,
    DeviceAllocated,
    DeviceAllocationRefused,
    NodeOnline,
)
_OF_NO_INTEREST = frozenset({"name", "tags", "ownerId"})
E = TypeVar("E", bound=Event)


def subscribe(
    bus: Bus, database: Database, patience: Scheduling | None = None, news: Callable[[], None] = lambda: None
) -> None:
    """Before the bus is started. `news` is told after each change that may let somebody out of the queue."""
    patience = patience or Scheduling()

    def consume(
        queue: str, take: Callable[[AsyncSession, Envelope], Awaitable[None]]
    ) -> Callable[..., Awaitable[None]]:
        async def handle(envelope: Envelope, delivery: Delivery) -> None:
            async with database.writing() as session:
                if await first_time(session, queue, envelope):
                    await take(session, envelope)
            news()

        return handle

    async def allocate(session: AsyncSession, envelope: Envelope) -> None:
        await service.request_for_order(session, opened(envelope, DeviceAllocateRequested), patience)

    async def release(session: AsyncSession, envelope: Envelope) -> None:
        asked = opened(envelope, DeviceReleaseRequested)
        if not await service.release_for_order(session, asked, patience):
            log.info("release_ignored", allocation_id=asked.allocation_id, fencing_token=asked.fencing_token)

    async def fleet(session: AsyncSession, envelope: Envelope) -> None:
        await follow(session, envelope, patience)

    bus.subscribe(DEVICE_ALLOCATE, [DeviceAllocateRequested.type], consume(DEVICE_ALLOCATE, allocate))
    bus.subscribe(DEVICE_RELEASE, [DeviceReleaseRequested.type], consume(DEVICE_RELEASE, release))
    bus.subscribe(INVENTORY, [event.type for event in FLEET], consume(INVENTORY, fleet))


async def follow(session: AsyncSession, envelope: Envelope, patience: Scheduling) -> None:
    """Raises Reject for an envelope that is not what its type says."""
    match envelope.type:
        case DeviceAllocated.type:
            taken = opened(envelope, DeviceAllocated)
            await inventory.hear_state(session, taken.device_id, "allocated", *_place(envelope, taken))
            await service.device_taken(session, taken.allocation_id, taken.fencing_token)
        case DeviceAllocationRefused.type:
            refused = opened(envelope, DeviceAllocationRefused)
            await service.device_refused(
                session, refused.allocation_id, refused.fencing_token, refused.reason, patience
            )
        case DeviceStatusChanged.type:
            changed = opened(envelope, DeviceStatusChanged)
            await inventory.hear_state(session, changed.device_id, changed.new_status, *_place(envelope, changed))
        case DeviceDeleted.type:
            gone = opened(envelope, DeviceDeleted)
            await inventory.hear_state(session, gone.device_id, "deleted", *_place(envelope, gone))
        case DeviceCreated.type:
            await inventory.mark_device(session, opened(envelope, DeviceCreated).device_id)
        case DeviceUpdated.type:
            updated = opened(envelope, DeviceUpdated)
            if not _OF_NO_INTEREST.issuperset(updated.changed):
                await inventory.mark_device(session, updated.device_id)
        case NodeChanged.type:
            node = opened(envelope, NodeChanged)
            version = envelope.entities.get(entities.node(node.node_id), 0)
            await inventory.mark_node(session, node.node_id, node.status, version)
        case TemplateChanged.type:
            await inventory.mark_template(session, opened(envelope, TemplateChanged).template_id)
        case _:
            pass


def opened(envelope: Envelope, kind: type[E]) -> E:
    """Raises Reject for data that is not what its type says."""
    try:
        return msgspec.json.decode(envelope.data, type=kind)
    except msgspec.MsgspecError as error:
        raise Reject(f"not a {kind.type}: {error}") from error


def _place(envelope: Envelope, event: DeviceAllocated | DeviceStatusChanged | DeviceDeleted) -> tuple[int, int]:
    """The device's version and the event's number."""
    entity = entities.device(event.device_id)
    if entity not in envelope.entities:
        raise Reject(f"{envelope.type} does not name {entity}")
    return envelope.entities[entity], envelope.seq or 0

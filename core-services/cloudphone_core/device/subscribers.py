"""What device does when others announce.

Duplicates, late and reordered events are harmless: of each user only the highest version counts, of allocations the
highest fencing token.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.contracts.user import User
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.errors import NotFound
from cloudphone_shared.events import Envelope, Event
from cloudphone_shared.events.billing import ArrearsBegan, ArrearsEnded
from cloudphone_shared.events.device import OperationRequested
from cloudphone_shared.events.scheduler import AllocationReleased, AllocationReserved, NodeOffline, NodeOnline
from cloudphone_shared.events.user import UserDeleted, UserUpdated

from .allocations import obey_release, obey_reservation
from .arrears import follow_arrears
from .fleet import hear_of_node
from .installing.requests import subscribe_installing
from .owners import copy_owner, learn_owner
from .service import release_devices_of

USER_UPDATED = "device-service.user-updated"
OPERATIONS = "device-service.operations"
ALLOCATIONS = "device-service.allocations"
ARREARS = "device-service.arrears"
NODES = "device-service.nodes"
E = TypeVar("E", bound=Event)
Take = Callable[[AsyncSession, Envelope], Awaitable[None]]


def subscribe(bus: Bus, database: Database, core: CoreClients, wake: Callable[[], None] = lambda: None) -> None:
    """Before the bus is started. `wake` tells this process's runner that there may be work."""

    def consume(queue: str, *events: type[Event], take: Take, concurrency: int = 8) -> None:
        async def handle(envelope: Envelope, delivery: Delivery) -> None:
            async with database.writing() as session:
                if await first_time(session, queue, envelope):
                    await take(session, envelope)

        bus.subscribe(queue, [event.type for event in events], handle, concurrency=concurrency)

    async def work_asked_for(envelope: Envelope, delivery: Delivery) -> None:
        wake()

    async def allocation(envelope: Envelope, delivery: Delivery) -> None:
        # Asked before the transaction: nothing is locked while another service takes its time.
        reserved = envelope.type == AllocationReserved.type
        user = await _user(core, opened(envelope, AllocationReserved)) if reserved else None
        async with database.writing() as session:
            if not await first_time(session, ALLOCATIONS, envelope):
                return
            if reserved:
                await obey_reservation(session, opened(envelope, AllocationReserved), user)
            else:
                await obey_release(session, opened(envelope, AllocationReleased))

    bus.subscribe(OPERATIONS, [OperationRequested.type], work_asked_for)
    subscribe_installing(bus, database, wake)
    bus.subscribe(ALLOCATIONS, [AllocationReserved.type, AllocationReleased.type], allocation)
    consume(USER_UPDATED, UserUpdated, UserDeleted, take=follow_user)
    consume(ARREARS, ArrearsBegan, ArrearsEnded, take=_arrears)
    consume(NODES, NodeOffline, NodeOnline, take=_node, concurrency=1)


def opened(envelope: Envelope, kind: type[E]) -> E:
    """Raises Reject for an envelope that is not what its type says."""
    try:
        return msgspec.json.decode(envelope.data, type=kind)
    except msgspec.MsgspecError as error:
        raise Reject(f"not a {envelope.type}: {error!r}") from error


async def _user(core: CoreClients, order: AllocationReserved) -> User | None:
    try:
        return await core.user.get(order.user_id)
    except NotFound:
        return None


async def _arrears(session: AsyncSession, envelope: Envelope) -> None:
    owes = envelope.type == ArrearsBegan.type
    event = opened(envelope, ArrearsBegan) if owes else opened(envelope, ArrearsEnded)
    version = envelope.entities.get(entities.arrears(event.user_id))
    if version is None:
        raise Reject(f"a {envelope.type} that names no version")
    await follow_arrears(session, event.user_id, version=version, owes=owes)


async def _node(session: AsyncSession, envelope: Envelope) -> None:
    online = envelope.type == NodeOnline.type
    event = opened(envelope, NodeOnline) if online else opened(envelope, NodeOffline)
    await hear_of_node(session, event.node_id, online=online)


async def follow_user(session: AsyncSession, envelope: Envelope) -> None:
    """Raises Reject for an envelope that is not what its type says."""
    try:
        if envelope.type == UserDeleted.type:
            await _deleted(session, msgspec.json.decode(envelope.data, type=UserDeleted), envelope)
        else:
            await _updated(session, msgspec.json.decode(envelope.data, type=UserUpdated), envelope)
    except (msgspec.MsgspecError, KeyError) as error:
        raise Reject(f"not a {envelope.type}: {error!r}") from error


async def _updated(session: AsyncSession, event: UserUpdated, envelope: Envelope) -> None:
    version = envelope.entities[entities.user(event.user_id)]
    await copy_owner(
        session, await learn_owner(session, event.user_id, version=version, name=event.name, email=event.email)
    )


async def _deleted(session: AsyncSession, event: UserDeleted, envelope: Envelope) -> None:
    """Takes back what the user held. A device that is busy keeps its owner's id, but neither name nor address, until
    its state lets it go."""
    version = envelope.entities[entities.user(event.user_id)]
    owner = await learn_owner(session, event.user_id, version=version, deleted=True)
    await release_devices_of(session, owner.id)
    await copy_owner(session, owner)

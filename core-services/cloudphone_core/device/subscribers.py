"""What device does when the user service announces: the copies of an owner's name and e-mail address follow.

Duplicates, late and reordered events are harmless: of each user only the highest version counts.
"""

from collections.abc import Callable

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.bus import Bus, Delivery, Reject
from cloudphone_shared.database import Database, first_time
from cloudphone_shared.events import Envelope
from cloudphone_shared.events.device import OperationRequested
from cloudphone_shared.events.user import UserDeleted, UserUpdated

from .owners import copy_owner, learn_owner
from .service import release_devices_of

USER_UPDATED = "device-service.user-updated"
OPERATIONS = "device-service.operations"


def subscribe(bus: Bus, database: Database, wake: Callable[[], None] = lambda: None) -> None:
    """Before the bus is started. `wake` tells this process's runner that there may be work."""

    async def work_asked_for(envelope: Envelope, delivery: Delivery) -> None:
        wake()

    bus.subscribe(OPERATIONS, [OperationRequested.type], work_asked_for)

    async def user_changed(envelope: Envelope, delivery: Delivery) -> None:
        async with database.writing() as session:
            if await first_time(session, USER_UPDATED, envelope):
                await follow_user(session, envelope)

    bus.subscribe(USER_UPDATED, [UserUpdated.type, UserDeleted.type], user_changed)


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

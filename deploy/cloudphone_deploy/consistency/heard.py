"""What a monitor knows of changes: read from the owners' `/internal/changes`, as it hears them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cloudphone_shared.contracts.common import Contract
from cloudphone_shared.database import Changes
from cloudphone_shared.errors import DomainError, Unavailable
from cloudphone_shared.http.client import ServiceClient

SERVICES = ("user", "device", "billing")
POLL_SECONDS = 0.25
REMEMBERED = 200_000
MOST_CHANGES = 5000


class Position(Contract, frozen=True, kw_only=True):
    """The part of Changes that says where the owner stands."""

    position: int


class Heard(NamedTuple):
    """`version` was known here at `at` (own clock, monotonic); its owner announced it at `announced` (its clock,
    seconds since 1970)."""

    version: int
    at: float
    announced: float


class Changed:
    """The versions of every entity that changed while the monitor listened, in order."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Heard]] = {}
        self.position: dict[str, int] = {}
        self.lag: dict[str, float] = {}
        """Seconds from the announcement of a service's last change to its being heard here."""
        self.recent: list[str] = []

    def hear(self, service: str, changes: Changes, received: float, clock: Callable[[], float] = time.time) -> None:
        for change in changes.changes:
            announced = change.time.timestamp()
            for entity, version in change.entities.items():
                self.note(entity, Heard(version, received, announced))
            self.position[service] = change.seq
            self.lag[service] = max(0.0, clock() - announced)

    def newer(self, entity: str, version: int) -> Heard | None:
        """The first version after this one, if one has been heard of."""
        return next((heard for heard in self.versions.get(entity, ()) if heard.version > version), None)

    def note(self, entity: str, heard: Heard) -> None:
        if len(self.versions) >= REMEMBERED and entity not in self.versions:
            self.versions.pop(next(iter(self.versions)))
        self.versions.setdefault(entity, []).append(heard)
        self.versions[entity] = self.versions[entity][-100:]
        self.recent = [*self.recent[-199:], entity]


async def listen(changed: Changed, clients: Mapping[str, ServiceClient]) -> None:
    """Until cancelled; from the present on. Outages are waited out."""
    async with asyncio.TaskGroup() as group:
        for service, client in clients.items():
            group.create_task(_tail(changed, service, client))


async def begin(changed: Changed, service: str, client: ServiceClient) -> None:
    """Raises DomainError when the owner refuses, Unavailable without an answer."""
    changed.position[service] = (await _changes(client, 2**53 - 1, 1)).position


async def _tail(changed: Changed, service: str, client: ServiceClient) -> None:
    while True:
        try:
            changes = await _changes(client, changed.position[service], MOST_CHANGES)
        except (DomainError, Unavailable):
            await asyncio.sleep(1.0)
            continue
        changed.hear(service, changes, time.monotonic())
        if len(changes.changes) < MOST_CHANGES:
            await asyncio.sleep(POLL_SECONDS)


async def _changes(client: ServiceClient, after: int, limit: int) -> Changes:
    return await client.get("/internal/changes", Changes, params={"after": after, "limit": limit})

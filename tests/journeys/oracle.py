"""What was committed and when, against what was shown and as of when."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import httpx

from cloudphone_deploy.consistency.laboratory import SERVICES
from cloudphone_shared.database import SCHEMAS
from cloudphone_shared.settings import Databases, load
from tests.journeys.client import Person, Staff
from tests.platform import Platform

ALLOWED_AGE_SECONDS = 2.001
"""The cache answers with nothing that is proven for a moment longer ago; times are told in milliseconds."""


class Renames:
    """One user renamed again and again at the user service; the number in the name says which rename it is."""

    def __init__(self, admin: Staff, customer: Person) -> None:
        self._admin = admin
        self._user = customer.ids["user"]
        self._numbers = itertools.count(1)
        self.committed: list[tuple[int, float]] = []
        """Number, and when its answer was here: seconds since 1970, no earlier than its commit."""

    async def one(self) -> int:
        """Until the service has answered. A rename without an answer may have been committed or not."""
        while True:
            number = next(self._numbers)
            with contextlib.suppress(httpx.TransportError, AssertionError):
                await self._admin.ask("user", "PATCH", f"/v1/users/{self._user}", {"name": f"Number {number}"})
                self.committed.append((number, time.time()))
                return number
            await asyncio.sleep(0.02)

    async def go_on(self) -> None:
        """With a pause between two that is long enough for hits."""
        while True:
            await self.one()
            await asyncio.sleep(0.05)

    def least(self, as_of: float) -> int:
        """What an answer that is proven fresh as of then has to show, or something later."""
        return next((number for number, answered in reversed(self.committed) if answered < as_of), 0)


class Witness:
    """Reads one view without end. `stale` are answers that claim to be fresher than they are, `wrong` those that should
    not be at all; `hit` is the highest number that the cache answered with."""

    def __init__(self, person: Person, path: str, name_in: Callable[[Any], str | None], renames: Renames) -> None:
        self.person = person
        self.path = path
        self._name_in = name_in
        self._renames = renames
        self.seen: Counter[str] = Counter()
        self.stale: list[str] = []
        self.wrong: list[str] = []
        self.hit = 0

    async def look(self) -> int:
        """The number shown; 0 when there is none."""
        sent = time.time()
        answer = await self.person.read(self.path, carry=False)
        if answer.status_code != 200:
            self.seen[str(answer.status_code)] += 1
            if answer.status_code != 503:
                self.wrong.append(f"{answer.status_code} {answer.text}")
            return 0
        self.seen[answer.headers["Cache-Status"]] += 1
        name = self._name_in(answer.json())
        shown = int(name.split()[-1]) if name and name.startswith("Number ") else 0
        claimed = answer.headers.get("X-Fresh-As-Of")
        as_of = datetime.fromisoformat(claimed).timestamp() if claimed else 0.0
        if name is not None and claimed and shown < (least := self._renames.least(as_of)):
            self.stale.append(f"{shown} shown as fresh as of {claimed}, when {least} had been committed")
        if "hit; detail=l" in answer.headers["Cache-Status"]:
            self.hit = max(self.hit, shown)
            if as_of < sent - ALLOWED_AGE_SECONDS:
                self.stale.append(
                    f"{shown} shown as fresh as of {claimed}, {sent - as_of:.1f} s before it was asked for"
                )
        return shown

    async def go_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watched(admin: Staff, customer: Person) -> AsyncGenerator[tuple[Renames, list[Witness]]]:
    """Renames and reads through both BFFs for as long as the block lasts; fails if one was stale or went wrong."""
    renames = Renames(admin, customer)
    witnesses = [
        Witness(admin, f"/admin/devices/{customer.ids['device']}", _name_of_owner, renames),
        Witness(customer, "/my/profile", _name_of_customer, renames),
    ]
    await renames.one()
    tasks = [asyncio.create_task(each.go_on()) for each in (renames, *witnesses)]
    try:
        yield renames, witnesses
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError) and isinstance(error, BaseException):
            raise error
    for witness in witnesses:
        assert not witness.stale, f"{witness.path}: {witness.stale[:5]} of {witness.seen}"
        assert not witness.wrong, f"{witness.path}: {witness.wrong[:5]}"


def _name_of_customer(body: Any) -> str | None:
    return body["profile"]["name"]


def _name_of_owner(body: Any) -> str | None:
    return body["owner"]["name"] if body["owner"] else None


async def unpublished(platform: Platform) -> int:
    """Changes that are committed and not on the bus yet, over all services."""
    return sum([await _of_database(platform, service, _UNPUBLISHED) for service in SERVICES])


async def last_numbers(platform: Platform) -> dict[str, int]:
    """The number of each service's last change."""
    return {service: await _of_database(platform, service, _LAST) for service in SERVICES}


_UNPUBLISHED = 'SELECT count(*) FROM "{schema}".outbox WHERE published_at IS NULL'
_LAST = 'SELECT last_seq FROM "{schema}".service_state'


async def _of_database(platform: Platform, service: str, query: str) -> int:
    connection: Any = await asyncpg.connect(load(Databases, env=platform.environment).url_of(service))
    try:
        return await connection.fetchval(query.format(schema=SCHEMAS[service]))
    finally:
        await connection.close()

"""A small domain for the cache's tests: a library, whose books and people have owners of their own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from cloudphone_cache import Answered, Audience, Beat, Cache, Change, View, observed
from cloudphone_cache.feed import Appender
from cloudphone_cache.knowledge import INCARNATION
from cloudphone_cache.redis import parse
from tests.conditions import eventually

KEY = b"the same in every process"


class Gone(Exception):
    """What an owner says of what it does not have."""


class Refused(Exception):
    """What an owner says when it will not."""


class Down(Exception):
    """No answer."""


class Owner:
    """A service: values by entity, versions under a lock, changes in dense numbers. `lag` makes it answer as it was."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.changes: list[Change] = []
        self.incarnation = 1
        self.asked = 0
        self.down = False
        self.names_its_entities = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.before_answer: Any = None
        self.snapshot: tuple[dict[str, Any], dict[str, int], int] | None = None
        self.reads_changes = True

    @property
    def last(self) -> int:
        return max(self.changes[-1].seq if self.changes else 0, self.incarnation * INCARNATION)

    def commit(self, entity: str, value: Any) -> int:
        version = self.incarnation * INCARNATION + self.versions.get(entity, 0) % INCARNATION + 1
        self.values[entity] = value
        self.versions[entity] = version
        self.changes.append(Change(self.last + 1, {entity: version}))
        return version

    def freeze(self) -> None:
        """From now on it answers as a replica that has stopped following."""
        self.snapshot = (dict(self.values), dict(self.versions), self.last)

    def backup(self) -> Callable[[], None]:
        """Restores it to what it is now. The next incarnation is the caller's to begin."""
        values, versions, changes = dict(self.values), dict(self.versions), list(self.changes)

        def restore() -> None:
            self.values, self.versions, self.changes = values, versions, changes

        return restore

    async def ask(self, *entities: str) -> list[Any]:
        self.asked += 1
        if self.down:
            raise Down(self.name)
        values, versions, seq = self.snapshot or (self.values, self.versions, None)
        found = [values.get(entity) for entity in entities]
        shown = {entity: versions.get(entity, 0) for entity in entities}
        await self.gate.wait()
        if self.before_answer is not None:
            then, self.before_answer = self.before_answer, None
            then()
        observed(self.name, shown if self.names_its_entities else {}, seq)
        return found

    async def one(self, entity: str) -> Any:
        [value] = await self.ask(entity)
        if value is None:
            raise Gone(entity)
        return value


class Library:
    """The owners, and the worker that writes their changes and heartbeats into the feed."""

    def __init__(self) -> None:
        self.books = Owner("books")
        self.people = Owner("people")
        self.more: list[Owner] = []
        """Services that the set began without."""
        self.beating = True
        self.beat_every = 0.05
        self.clock: Callable[[], float] = time.time
        """The owners' clock, in seconds since 1970."""

    @property
    def owners(self) -> dict[str, Owner]:
        return {owner.name: owner for owner in (self.books, self.people, *self.more)}

    def shelve(self, number: object, title: str = "Emma", holder: str | None = "ana") -> None:
        self.books.commit(f"book:{number}", {"title": title, "holder": holder})
        self.books.commit(f"loans:{number}", ["first"])
        if holder is not None and f"person:{holder}" not in self.people.values:
            self.people.commit(f"person:{holder}", {"name": holder.title()})

    async def fetch(self, service: str, *, after: int | None = None, since_ms: int | None = None) -> Sequence[Change]:
        owner = self.owners[service]
        if owner.down or not owner.reads_changes:
            raise Down(service)
        return [change for change in owner.changes if after is None or change.seq > after]

    async def work(self, appender: Appender, written: dict[str, int] | None = None) -> None:
        """Appends what was committed, and a heartbeat when there is nothing more."""
        written = written if written is not None else dict.fromkeys(self.owners, 0)
        beaten = 0.0
        while True:
            for owner in self.owners.values():
                now = int(self.clock() * 1000)
                changes = owner.changes[written.setdefault(owner.name, 0) :]
                if changes:
                    await appender.append(owner.name, changes)
                    written[owner.name] += len(changes)
                if self.beating and time.monotonic() - beaten > self.beat_every:
                    await appender.append(owner.name, [Beat(owner.last, now)])
            if time.monotonic() - beaten > self.beat_every:
                beaten = time.monotonic()
            await asyncio.sleep(0.003)


class Book(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    title: str
    holder: str | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class BookFull(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    book: Book
    held_by: Person | None
    loans: list[str] | None


def book_full(**options: Any) -> View[BookFull]:
    view = View("book:full:{number}", BookFull, **{"fresh_for": 300, "serve_stale_for": 3600, **options})

    @view.segment
    async def book(core: Library, number: str) -> Book:
        return msgspec.convert(await core.books.one(f"book:{number}"), Book)

    @view.segment
    async def held_by(core: Library, book: Book) -> Person | None:
        if book.holder is None:
            return None
        return msgspec.convert(await core.people.one(f"person:{book.holder}"), Person)

    @view.segment
    async def loans(core: Library, number: str) -> list[str]:
        [found] = await core.books.ask(f"loans:{number}")
        return found or []

    @view.many("book")
    async def books(core: Library, numbers: Sequence[str]) -> list[Answered | None]:
        entities = [f"book:{number}" for number in numbers]
        values = await core.books.ask(*entities)
        return [
            Answered(value and msgspec.convert(value, Book), "books", {entity: core.books.versions.get(entity, 0)})
            for entity, value in zip(entities, values, strict=True)
        ]

    @view.many("held_by")
    async def holders(core: Library, books: Sequence[Book]) -> list[Answered | None]:
        entities = [f"person:{book.holder}" for book in books]
        values = await core.people.ask(*entities)
        return [
            book.holder and Answered(msgspec.convert(value, Person), "people", {entity: core.people.versions[entity]})
            for book, entity, value in zip(books, entities, values, strict=True)
        ]

    @view.audience
    def audience(book: Book) -> Audience:
        return Audience(tenant="town", owner=book.holder)

    return view


def everybody(audience: Audience) -> bool:
    return True


def only(holder: str) -> Any:
    return lambda audience: audience.owner == holder


IN_A_HURRY = {"allowed_age": 2.0, "budget_ms": 50.0, "lease_ms": 2000}
"""A cache's patience in production, which the tests' fixtures lengthen."""


def new_cache(library: Library, redis: Any, *views: View[Any], **options: Any) -> Cache:
    return Cache(
        views or (book_full(),),
        library,
        redis=redis,
        **{
            "services": ("books", "people"),
            "absent": (Gone,),
            "refused": (Refused,),
            "unavailable": (Down,),
            "freshness_key": KEY,
            **options,
        },
    )


async def listening(cache: Cache) -> None:
    """Until it hears every feed and has reached every node of its Redis."""
    await eventually(cache.store.redis.connected.is_set)  # pyright: ignore[reportAttributeAccessIssue]
    assert await cache.listening()


@contextlib.asynccontextmanager
async def working(library: Library, url: str) -> AsyncIterator[Appender]:
    """A feed worker on this Redis."""
    appender = Appender(parse(url), library.fetch)
    task = asyncio.create_task(library.work(appender))
    try:
        yield appender
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await appender.close()


def body(served: Any) -> Any:
    return msgspec.json.decode(served.body)

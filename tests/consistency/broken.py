"""The laboratory's program with a part of the cache's protocol left out: the command line `without PART serve NAME…`.

What is left out is replaced in the fork alone, so that whole and broken processes stand side by side.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text

from cloudphone_cache.aggregation import Cache
from cloudphone_cache.composition import Composed, Composer
from cloudphone_cache.filling import Filled, Filler
from cloudphone_cache.knowledge import INCARNATION, Heard, Knowledge
from cloudphone_cache.local import Local
from cloudphone_cache.response import COMPOSED, Source
from cloudphone_core.device import main as device
from cloudphone_deploy import nursery_process
from cloudphone_shared.database import Database
from cloudphone_shared.http.context import request_id
from cloudphone_shared.http.edge import Edge


def _file(name: str) -> Path:
    """By which a test says what is to happen now."""
    return Path(os.environ["CLOUDPHONE_DATA"], name)


def positions() -> None:
    """Entries do not say when they were composed."""

    def holds(self: Knowledge, deps, now_ms: float) -> bool:
        return now_ms < self.good_until and not self.outdated(deps)

    Knowledge.holds = holds


def windows() -> None:
    """What was heard counts as heard without a hole."""

    def begin(self: Heard, since: int, *, anew: bool) -> None:
        self.since = min(self.since, INCARNATION)

    Heard.begin = begin


def first_heartbeat() -> None:
    """A window that begins with a heartbeat begins one number too early."""
    begin, hear_beat = Heard.begin, Knowledge.hear_beat

    def one_before(self: Knowledge, service: str, seq: int, t_ms: int) -> None:
        Heard.begin = lambda heard, since, *, anew: begin(heard, since - 1, anew=anew)
        try:
            hear_beat(self, service, seq, t_ms)
        finally:
            Heard.begin = begin

    Knowledge.hear_beat = one_before


def places_of_heartbeats() -> None:
    """A heartbeat takes the place of the change that it names."""
    hear_beat = Knowledge.hear_beat

    def as_a_change(self: Knowledge, service: str, seq: int, t_ms: int) -> None:
        if seq == self.services[service].position + 1:
            self.services[service].position = seq
        hear_beat(self, service, seq, t_ms)

    Knowledge.hear_beat = as_a_change


def times_of_heartbeats() -> None:
    """The feed is as young as the last arrival."""
    hear_beat = Knowledge.hear_beat
    Knowledge.hear_beat = lambda self, service, seq, t_ms: hear_beat(self, service, seq, self.now_ms())


def age() -> None:
    """A feed that has fallen silent proves as much as before."""
    holds = Knowledge.holds
    Knowledge.holds = lambda self, deps, now_ms: holds(self, deps, 0)


def slowly() -> None:
    """Nothing is left out; a fill of the view that the file `held` names waits between composing and storing while it
    is there, and leaves the file `composed`. Who joins it meanwhile is noted in the file `joined`.
    """
    compose, fill = Composer.compose, Filler.fill

    def is_held(key: str) -> bool:
        # It may go at any moment, between two looks as well.
        with suppress(FileNotFoundError):
            return _file("held").read_text() == key
        return False

    async def slow(self: Composer, view, params, base) -> Composed:
        composed = await compose(self, view, params, base)
        while is_held(view.key_of(params)):
            _file("composed").touch()
            await asyncio.sleep(0.01)
        return composed

    async def noted(self: Filler, view, params, key, base) -> Filled:
        if key in self.flights and is_held(key):
            with _file("joined").open("a") as joined:
                joined.write(f"{request_id.get()}\n")
        return await fill(self, view, params, key, base)

    Composer.compose = slow
    Filler.fill = noted
    # Whose request began a fill that is held, or waits for it, has time left to look once more.
    Edge._seconds = lambda self, header: 600.0


def second_looks() -> None:
    """A fill is not checked once it has ended, neither by itself nor by who joined it."""

    async def one_round(self: Composer, view, params, base) -> Composed:
        return await self._round(view, params, base, self.still_good(view, base), time.monotonic())

    def unlabelled(self: Filler, entry, storable: bool, base) -> Source:
        return COMPOSED

    async def blind_fill(self: Filler, view, params, key, base) -> Filled:
        flight = self.flights.get(key) or self.begin(view, params, key, base)
        return await asyncio.shield(flight.answer)

    Composer.compose = one_round
    Filler.fill = blind_fill
    Filler._source = unlabelled
    slowly()


def proofs() -> None:
    """The usual design: a change deletes what shows it, and whatever is there is served."""
    put, hear_change = Local.put, Knowledge.hear_change
    caches: list[Cache] = []
    shown: dict[str, set[str]] = {}
    enter = Cache.__aenter__

    async def entered(self: Cache) -> Cache:
        caches.append(self)
        return await enter(self)

    def indexed(self: Local, key: str, entry) -> None:
        for _, versions in entry.deps.values():
            for entity in versions:
                shown.setdefault(entity, set()).add(key)
        put(self, key, entry)

    def deleting(self: Knowledge, service: str, seq: int, entities) -> None:
        hear_change(self, service, seq, entities)
        for cache in caches:
            for key in {key for entity in entities for key in shown.get(entity, ())}:
                cache.local.drop(key)
                cache.store.drop(key)

    Cache.__aenter__ = entered
    Local.put = indexed
    Knowledge.hear_change = deleting
    Knowledge.proven = lambda self, entry: True
    Knowledge.outdated = lambda self, deps: False
    Knowledge.current = lambda self, entry: True
    slowly()


def _lagging(*, told: bool) -> None:
    """The device service reads from a replica that stands still for as long as the file `lagging` is there."""
    reading, rows = Database.reading, Database.rows
    replica: dict[str, Any] = {}
    stopping = asyncio.Lock()

    async def stands(self: Database) -> bool:
        if self.service != "device" or not _file("lagging").exists():
            return False
        async with stopping:
            if not replica:
                replica["held"] = held = reading(self)
                session = await held.__aenter__()
                replica["seq"] = (await session.execute(text("SELECT last_seq FROM device.service_state"))).scalar_one()
                replica["at"] = (await session.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
        return True

    @asynccontextmanager
    async def reading_behind(self: Database):
        behind = await stands(self)
        async with reading(self) as session:
            if behind:
                await session.execute(text(f"SET TRANSACTION SNAPSHOT '{replica['at']}'"))
            yield session

    async def rows_behind(self: Database, statement, **parameters):
        if not await stands(self):
            return await rows(self, statement, **parameters)
        connection: Any = await asyncpg.connect(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{replica['at']}'")
                return await connection.fetch(statement.sql, *statement.arguments(parameters))
        finally:
            await connection.close()

    Database.reading, Database.rows = reading_behind, rows_behind
    if told:
        make = device.create_app
        device.create_app = lambda: _naming(make(), lambda: replica.get("seq"))


def _naming(app, seq: Callable[[], int | None]):
    """Answers name the highest number in the replica's snapshot."""

    async def named(scope, receive, send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/") or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        start: list[dict] = []

        async def add(message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body = message["body"]
            if seq() and body.startswith(b'{"data":'):
                body = body[:-1] + b',"seq":%d}' % seq()
            headers = [(name, value) for name, value in start[0]["headers"] if name.lower() != b"content-length"]
            await send({**start[0], "headers": [*headers, (b"content-length", b"%d" % len(body))]})
            await send({**message, "body": body})

        await app(scope, receive, add)

    return named


def replica() -> None:
    """Nothing is left out: a replica that lags, and says so."""
    _lagging(told=True)


def replicas_number() -> None:
    """An answer of a replica does not name the number up to which it knows."""
    _lagging(told=False)


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part
    for part in (
        positions,
        windows,
        first_heartbeat,
        places_of_heartbeats,
        times_of_heartbeats,
        age,
        second_looks,
        proofs,
        slowly,
        replica,
        replicas_number,
    )
}


def run(words: list[str]) -> int:
    if words[0] == "without":
        PARTS[words[1]]()
        words = words[2:]
    return whole(words)


whole = nursery_process._run
nursery_process._run = run

if __name__ == "__main__":
    nursery_process.main()

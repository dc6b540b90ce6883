"""Each part of the protocol, on a real Redis: with it nothing stale is served as fresh; left out, something is.

The product has no switch for any of this: the tests replace the part.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from cloudphone_cache import Appender, Beat, Cache, Served
from cloudphone_cache.composition import Composed, Composer, Recorder
from cloudphone_cache.feed import Tail, stream_of
from cloudphone_cache.filling import Filled, Filler
from cloudphone_cache.knowledge import INCARNATION, Heard, Knowledge
from cloudphone_cache.redis import parse
from cloudphone_cache.testing import Clock
from tests.cache.library import Library, Owner, body, book_full, everybody, new_cache
from tests.cache.test_reading import settled, status
from tests.conditions import eventually

pytestmark = pytest.mark.anyio
HERE = {"number": 1}
Patch = pytest.MonkeyPatch


class Scene:
    """Two processes on one Redis, and a feed that the test writes by hand."""

    def __init__(self, library: Library, url: str) -> None:
        self.library = library
        self.url = url
        self.clock = Clock(time.time())
        self.view = book_full()
        self.appender = Appender(parse(url), library.fetch)
        self.stack = AsyncExitStack()
        self.written = dict.fromkeys(library.owners, 0)

    async def process(self) -> Cache:
        """A process that has heard what there is to hear."""
        cache = new_cache(self.library, self.url, self.view, clock=self.clock, allowed_age=2.0)
        await self.stack.enter_async_context(cache)
        await eventually(lambda: cache.store.available)
        return cache

    async def announce(self, *, beat: bool = True) -> None:
        for owner in self.library.owners.values():
            await self.appender.append(owner.name, owner.changes[self.written[owner.name] :])
            self.written[owner.name] = len(owner.changes)
        if beat:
            await self.beat()

    async def beat(self, ago: float = 0.0) -> None:
        # A millisecond on: a heartbeat of the same number and time would be a repeat.
        self.clock.move(0.001)
        for owner in self.library.owners.values():
            await self.appender.append(owner.name, [Beat(owner.last, int((self.clock() - ago) * 1000))])

    async def heard(self, cache: Cache) -> None:
        for owner in self.library.owners.values():
            heard = cache.knowledge.services[owner.name]
            await eventually(lambda heard=heard, owner=owner: heard.position == owner.last and heard.as_of)
            await eventually(lambda heard=heard: heard.as_of >= int(self.clock() * 1000) - 1900)

    async def cut_before(self, owner: Owner, seq: int) -> None:
        """The stream from this number on is all that is left."""
        await self.appender._redis.xtrim(stream_of(owner.name), minid=f"{seq}-0", approximate=False)

    async def deaf(self, cache: Cache) -> None:
        assert cache._tailing is not None
        cache._tailing.cancel()
        await asyncio.gather(cache._tailing, return_exceptions=True)

    def hears_again(self, cache: Cache) -> None:
        assert isinstance(cache.tail, Tail)
        cache._tailing = asyncio.create_task(cache.tail.run())

    async def read(self, cache: Cache) -> Served:
        return await cache.read(self.view, HERE, everybody)


@pytest.fixture
async def scene(library: Library, redis_url: str) -> AsyncIterator[Scene]:
    library.shelve(1, "old")
    scene = Scene(library, redis_url)
    await scene.announce()
    yield scene
    await scene.stack.aclose()
    await scene.appender.close()


def rename(scene: Scene, title: str = "new") -> int:
    scene.library.books.commit("book:1", {"title": title, "holder": "ana"})
    return scene.library.books.last


def stale(served: Served) -> bool:
    """Whether the old title was served as a proven hit."""
    return status(served).startswith("hit") and body(served)["book"]["title"] == "old"


async def stored_entry(scene: Scene) -> Cache:
    filler = await scene.process()
    await scene.heard(filler)
    await scene.read(filler)
    await settled(filler)
    return filler


both = pytest.mark.parametrize("left_out", [False, True], ids=["whole", "left out"])


def ignore_position(patch: Patch) -> None:
    def holds(self: Knowledge, deps, now_ms) -> bool:
        return now_ms < self.good_until and not self.outdated(deps)

    patch.setattr(Knowledge, "holds", holds)


def leave_since_alone(patch: Patch) -> None:
    def begin(self: Heard, since: int, *, anew: bool) -> None:
        self.since = min(self.since, INCARNATION)

    patch.setattr(Heard, "begin", begin)


@both
@pytest.mark.parametrize("part", [ignore_position, leave_since_alone])
async def test_a_hole_in_the_feed(
    scene: Scene, left_out: bool, part: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    """Positions of entries, and windows that move up at a hole."""
    if left_out:
        part(monkeypatch)
    reader = await scene.process()
    await scene.heard(reader)
    await stored_entry(scene)
    await scene.deaf(reader)
    lost = rename(scene)
    scene.library.books.commit("loans:9", ["other"])
    await scene.announce()
    await scene.cut_before(scene.library.books, lost + 1)
    scene.hears_again(reader)
    await scene.heard(reader)
    assert stale(await scene.read(reader)) == left_out


@both
@pytest.mark.parametrize("part", [ignore_position, leave_since_alone])
async def test_a_restart_on_a_trimmed_feed(
    scene: Scene, left_out: bool, part: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    """A new process knows nothing from before the first item it hears."""
    if left_out:
        part(monkeypatch)
    await stored_entry(scene)
    lost = rename(scene)
    scene.library.books.commit("loans:9", ["other"])
    await scene.announce()
    await scene.cut_before(scene.library.books, lost + 1)
    reader = await scene.process()
    await scene.heard(reader)
    assert stale(await scene.read(reader)) == left_out


@both
async def test_a_window_that_begins_with_a_heartbeat(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """It begins at the heartbeat's number, not one before."""
    if left_out:
        begin = Heard.begin
        hear_beat = Knowledge.hear_beat

        def one_before(self: Knowledge, service: str, seq: int, t_ms: int) -> None:
            monkeypatch.setattr(Heard, "begin", lambda heard, since, *, anew: begin(heard, since - 1, anew=anew))
            hear_beat(self, service, seq, t_ms)
            monkeypatch.setattr(Heard, "begin", begin)

        monkeypatch.setattr(Knowledge, "hear_beat", one_before)
    await stored_entry(scene)
    lost = rename(scene)
    await scene.announce()
    await scene.appender._redis.xtrim(stream_of("books"), minid=f"{lost}-1", approximate=False)
    reader = await scene.process()
    await scene.heard(reader)
    assert stale(await scene.read(reader)) == left_out


@both
async def test_a_heartbeat_that_overtakes_its_change(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """A heartbeat is appended, and fits, only behind the change that it names."""
    filler = await stored_entry(scene)
    seq = rename(scene)
    t_ms = int(scene.clock() * 1000)
    if left_out:

        def as_a_change(self: Knowledge, service: str, number: int, told: int) -> None:
            if number == self.services[service].position + 1:
                self.services[service].position = number
            hear_beat(self, service, number, told)

        hear_beat = Knowledge.hear_beat
        monkeypatch.setattr(Knowledge, "hear_beat", as_a_change)
        await scene.appender._redis.xadd(stream_of("books"), {"t": t_ms}, id=f"{seq}-{t_ms}")
    else:
        await scene.appender.append("books", [Beat(seq, t_ms)])
    await scene.beat()
    await eventually(lambda: filler.knowledge.services["books"].position == seq)
    assert stale(await scene.read(filler)) == left_out


@both
async def test_a_backlog_of_old_heartbeats(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """The feed's age comes from what a heartbeat tells, not from when it arrives."""
    if left_out:
        hear_beat = Knowledge.hear_beat
        monkeypatch.setattr(
            Knowledge, "hear_beat", lambda self, service, seq, t_ms: hear_beat(self, service, seq, self.now_ms())
        )
    reader = await stored_entry(scene)
    last = scene.library.books.last
    rename(scene)
    scene.clock.move(5)
    beats = reader.knowledge.beats
    await scene.appender.append("books", [Beat(last, int((scene.clock() - 4) * 1000))])
    await scene.appender.append("people", [Beat(scene.library.people.last, int(scene.clock() * 1000))])
    await eventually(lambda: reader.knowledge.beats >= beats + 2)
    assert stale(await scene.read(reader)) == left_out


@both
async def test_a_feed_that_has_fallen_silent(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """Without word from an owner for two seconds, nothing of its is proven."""
    if left_out:
        holds = Knowledge.holds
        monkeypatch.setattr(Knowledge, "holds", lambda self, deps, now_ms: holds(self, deps, 0))
    reader = await stored_entry(scene)
    rename(scene)
    scene.clock.move(5)
    assert stale(await scene.read(reader)) == left_out


@both
async def test_an_answer_of_a_replica_that_lags(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """It lowers the entry's position to the number that it names."""
    if left_out:
        observe = Recorder.observe
        monkeypatch.setattr(
            Recorder, "observe", lambda self, service, entities, seq: observe(self, service, entities, None)
        )
    scene.library.books.freeze()
    seq = rename(scene)
    await scene.announce()
    await scene.appender._redis.xtrim(stream_of("books"), minid=f"{seq}-1", approximate=False)
    reader = await scene.process()
    await scene.heard(reader)
    await scene.read(reader)
    served = await scene.read(reader)
    assert stale(served) == left_out
    # Composed from it, an answer says that it may lack something.
    assert (status(served) == "fwd=miss; detail=not-fresh") == (not left_out)
    assert bool(served.header("x-fresh-as-of")) == left_out


@both
async def test_a_database_restored_from_a_backup(scene: Scene, left_out: bool) -> None:
    """Its incarnation is raised, or the lost timeline's numbers would be used again."""
    books = scene.library.books
    before = dict(books.values), dict(books.versions), list(books.changes)
    books.commit("book:1", {"title": "old", "holder": "ana"})
    await scene.announce()
    reader = await stored_entry(scene)
    books.values, books.versions, books.changes = before
    books.values["book:1"] = {"title": "new", "holder": "ana"}  # what the backup held
    if not left_out:
        books.incarnation += 1
    scene.written["books"] = len(books.changes)
    for _ in range(2):
        books.commit("loans:9", ["other"])
    await scene.announce()
    await scene.heard(reader)
    assert stale(await scene.read(reader)) == left_out


async def blind_fill(self: Filler, view, params, key, base) -> Filled:
    flight = self.flights.get(key) or self.begin(view, params, key, base)
    return await asyncio.shield(flight.answer)


async def one_round(self: Composer, view, params, base) -> Composed:
    return await self._round(view, params, base, self.still_good(view, base), time.monotonic())


@pytest.mark.parametrize("own_check", [True, False])
@pytest.mark.parametrize("join_check", [True, False])
async def test_a_caller_who_joins_with_a_newer_token(
    scene: Scene, own_check: bool, join_check: bool, monkeypatch: Patch
) -> None:
    """Either check is enough: the fill's own before it ends, or the joined caller's after."""
    if not own_check:
        monkeypatch.setattr(Composer, "compose", one_round)
    if not join_check:
        monkeypatch.setattr(Filler, "fill", blind_fill)
    library = scene.library
    cache = await scene.process()
    await scene.heard(cache)
    library.people.gate.clear()
    first = asyncio.create_task(scene.read(cache))
    await eventually(lambda: library.people.asked == 1)
    rename(scene)
    token = cache._freshness.sign({"books": {"book:1": library.books.versions["book:1"]}})
    second = asyncio.create_task(cache.read(scene.view, HERE, everybody, fresh_after=token))
    await asyncio.sleep(0)
    library.people.gate.set()
    await first
    assert (body(await second)["book"]["title"] == "old") == (not own_check and not join_check)


@both
async def test_a_fill_that_stores_after_the_change_was_heard(scene: Scene, left_out: bool, monkeypatch: Patch) -> None:
    """The usual design, in place of ours: a change deletes the view, and what is there is served."""
    library = scene.library
    filler, reader = await scene.process(), await scene.process()
    await scene.heard(filler)
    await scene.heard(reader)
    await scene.deaf(filler)
    library.people.gate.clear()
    fill = asyncio.create_task(scene.read(filler))
    await eventually(lambda: library.people.asked == 1)
    rename(scene)
    await scene.announce()
    await scene.heard(reader)
    if left_out:
        await reader.drop(scene.view, HERE)
        monkeypatch.setattr(Knowledge, "proven", lambda self, entry: True)
    library.people.gate.set()
    await fill
    await settled(filler)
    assert stale(await scene.read(reader)) == left_out

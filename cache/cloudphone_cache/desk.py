"""What an operator may ask: of this process at once, of all processes through the board."""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .board import Board, Posted, Process, Replies
from .explaining import Explained
from .knowledge import INCARNATION, Position
from .local import Held
from .misses import Miss
from .redis import REDIS_ERRORS, Address
from .showing import Showing, showing

if TYPE_CHECKING:
    from .aggregation import Cache

T = TypeVar("T")
_AT_ONCE = 500
"""Entries looked at before others have their turn."""


class FeedState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One service's feed as a process has heard it: nothing after `since` was missed, up to `position`. `age_ms` is
    the most its owner's commits may be ahead; `behind` how many changes the feed, or the furthest process, is ahead.
    Nulls: nothing was heard yet, or the other is on another incarnation."""

    service: str
    position: int | None
    since: int | None
    as_of_ms: int | None
    age_ms: int | None
    remembered: int
    behind: int | None = None

    @classmethod
    def of(cls, position: Position) -> "FeedState":
        return cls(**position._asdict())


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a process is: since when it runs and when it said so (ms since 1970), its feeds, its counters and L1."""

    since_ms: int
    at_ms: int
    live: bool
    feeds: list[FeedState]
    counters: dict[str, float]
    hit_rate: float | None
    l1_entries: int
    l1_bytes: int
    l1_limit_bytes: int


class ProcessState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A process and how it is. `answers` false: it did not answer now, this is its last report."""

    process: Process
    answers: bool
    report: Report


class Shelf(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one view takes up in a process's own layer."""

    view: str
    entries: int
    bytes: int


class Survey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A process's own layer: its views by bytes, and what is asked for most of late."""

    entries: int
    bytes: int
    limit_bytes: int
    views: list[Shelf]
    hottest: list[Held]


class Dropped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`known`: the process shows such a view; `dropped`: there was an entry, here or in Redis."""

    known: bool
    dropped: bool


class Gathered(msgspec.Struct):
    """Answers of all processes; `silent` are those that gave none in time."""

    answers: list[tuple[Process, Any]]
    silent: list[Process]


class Desk:
    """`name` is the app's; without an address the desk knows this process alone."""

    def __init__(self, cache: "Cache", name: str, address: Address | None, limit_bytes: int) -> None:
        self._cache = cache
        self._address = address
        self._limit_bytes = limit_bytes
        self._since_ms = round(time.time() * 1000)
        self.process = Process.here(name)
        self._answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "report": self._report,
            "misses": self._misses,
            "survey": self._survey,
            "show": self._show,
            "drop": self._drop,
        }
        self._board = Board(address, self.process, self.report, self._answers) if address is not None else None

    def start(self) -> None:
        if self._board is not None:
            self._board.start()

    async def close(self) -> None:
        if self._board is not None:
            await self._board.close()

    def report(self) -> Report:
        counters = self._cache.stats()
        hits = counters["hits_l1"] + counters["hits_l2"]
        reads = hits + counters["misses"]
        return Report(
            since_ms=self._since_ms,
            at_ms=round(time.time() * 1000),
            live=self._cache.knowledge.live,
            feeds=[FeedState.of(each) for each in self._cache.feed_positions()],
            counters=counters,
            hit_rate=hits / reads if reads else None,
            l1_entries=len(self._cache.local),
            l1_bytes=self._cache.local.bytes,
            l1_limit_bytes=self._limit_bytes,
        )

    async def processes(self) -> list[ProcessState]:
        """Every process as it is now, and by its last report where it does not answer. This one alone while Redis is
        away."""
        newest: dict[str, int] = {}
        try:
            posted = {each.process.id: each for each in await self._posted()}
            replies = await self._ask("report", {})
            if self._board is not None:
                newest = await self._board.newest(self._cache.knowledge.services)
        except REDIS_ERRORS:
            posted, replies = {}, Gathered([(self.process, self.report())], [])
        found = [ProcessState(process=who, answers=True, report=report) for who, report in replies.answers]
        found += [
            ProcessState(process=who, answers=False, report=report)
            for who in replies.silent
            if who.id in posted and (report := _reported(posted[who.id])) is not None
        ]
        return _measured(found, newest)

    async def misses(self, count: int, **about: str | None) -> Gathered:
        """Of each process its latest `count` (list[Miss]), of a `view`, `key` or `request_id`."""
        return await self._ask_or_here("misses", {"count": count, **about}, list[Miss])

    async def survey(self, count: int) -> Gathered:
        """Each process's own layer (Survey), with the `count` entries asked for most."""
        return await self._ask_or_here("survey", {"count": count}, Survey)

    async def show(self, key: str) -> Gathered:
        """What each process that shows such a view knows of it (Explained); None of the others."""
        return await self._ask_or_here("show", {"key": key}, Explained | None)

    async def drop(self, key: str) -> Gathered:
        """Has every process forget a view (Dropped). Raises RedisAway, RedisRefused."""
        return await self._ask("drop", {"key": key}, Dropped)

    async def showing(self, entity: str, *, cursor: str | None, limit: int, within: float) -> Showing:
        """Which entries in Redis show an entity: a stretch of the walk. Raises CursorGone, RedisAway."""
        if self._address is None:
            return Showing(views=[], scanned=0, total=0, next_cursor=None)
        return await showing(self._address, entity, cursor=cursor, limit=limit, within=within)

    async def _ask_or_here(self, kind: str, about: dict[str, Any], shape: Any) -> Gathered:
        try:
            return await self._ask(kind, about, shape)
        except REDIS_ERRORS:
            return Gathered([(self.process, await self._answers[kind](about))], [])

    async def _ask(self, kind: str, about: dict[str, Any], shape: Any = Report) -> Gathered:
        if self._board is None:
            return Gathered([(self.process, await self._answers[kind](about))], [])
        replies: Replies = await self._board.ask(kind, about)
        decode = msgspec.json.Decoder(shape).decode
        answers: list[tuple[Process, Any]] = []
        silent = list(replies.silent)
        for who, text in replies.answers:
            try:
                answers.append((who, decode(text)))
            except msgspec.MsgspecError:
                # Of another release.
                silent.append(who)
        return Gathered(answers, silent)

    async def _posted(self) -> list[Posted]:
        return await self._board.processes() if self._board is not None else []

    async def _report(self, about: Mapping[str, Any]) -> Report:
        return self.report()

    async def _misses(self, about: Mapping[str, Any]) -> list[Miss]:
        narrowed = {name: about.get(name) for name in ("view", "key", "request_id")}
        return self._cache.misses.latest(int(about["count"]), **narrowed)

    async def _survey(self, about: Mapping[str, Any]) -> Survey:
        """In turns with the readers: there may be many entries."""
        shelves: dict[str, tuple[int, int]] = {}
        hottest: list[tuple[int, int, Held]] = []
        count = int(about["count"])
        for number, held in enumerate(self._cache.local.held()):
            view = self._view_of(held.key)
            entries, size = shelves.get(view, (0, 0))
            shelves[view] = (entries + 1, size + held.bytes)
            if len(hottest) < count:
                heapq.heappush(hottest, (held.hits, number, held))
            elif count and held.hits > hottest[0][0]:
                heapq.heapreplace(hottest, (held.hits, number, held))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        views = [Shelf(view=view, entries=entries, bytes=size) for view, (entries, size) in shelves.items()]
        return Survey(
            entries=len(self._cache.local),
            bytes=self._cache.local.bytes,
            limit_bytes=self._limit_bytes,
            views=sorted(views, key=lambda shelf: -shelf.bytes),
            hottest=[held for _, _, held in sorted(hottest, key=lambda each: (-each[0], each[1]))],
        )

    def _view_of(self, key: str) -> str:
        name = key.rpartition(":")[0]
        if name in self._cache.views:
            return name
        found = self._cache.view_of(key)
        return key if found is None else found[0].name

    async def _show(self, about: Mapping[str, Any]) -> Explained | None:
        found = self._cache.view_of(str(about["key"]))
        return None if found is None else await self._cache.explain(*found)

    async def _drop(self, about: Mapping[str, Any]) -> Dropped:
        found = self._cache.view_of(str(about["key"]))
        if found is None:
            return Dropped(known=False, dropped=False)
        return Dropped(known=True, dropped=await self._cache.drop(*found))


def _reported(posted: Posted) -> Report | None:
    """None for a report of another release."""
    try:
        return msgspec.json.decode(posted.report, type=Report)
    except msgspec.MsgspecError:
        return None


def _measured(states: list[ProcessState], newest: Mapping[str, int]) -> list[ProcessState]:
    """With how far each is behind its feeds, or behind the furthest process."""
    furthest = dict(newest)
    for state in states:
        for feed in state.report.feeds:
            if feed.position is not None:
                furthest[feed.service] = max(feed.position, furthest.get(feed.service, -1))
    return [msgspec.structs.replace(state, report=_behind(state.report, furthest)) for state in states]


def _behind(report: Report, furthest: Mapping[str, int]) -> Report:
    feeds = [
        feed
        if feed.position is None or feed.position // INCARNATION != furthest[feed.service] // INCARNATION
        else msgspec.structs.replace(feed, behind=furthest[feed.service] - feed.position)
        for feed in report.feeds
    ]
    return msgspec.structs.replace(report, feeds=feeds)

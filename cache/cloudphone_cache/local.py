"""L1: entries kept in this process, bounded by bytes. What stays is decided by S3-FIFO (docs/decisions/0009).

A new entry is on trial, in a queue that may have a tenth of the bytes. At its end who was asked for more than once
goes on to the main queue; the others leave, and their keys are remembered for as long as it takes to notice that they
left too early. At the end of the main queue who was asked for since goes round again. A hit only counts.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from .entry import Entry
from .knowledge import Knowledge

_TRIAL = 10
"""The part of the bytes that entries on trial may have: one in ten."""
_MOST_TURNS = 3
"""How often an entry goes round the main queue at most without being asked for again."""


class Held(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this process holds under a key: hits of late, bytes in memory, and since when (ms since 1970)."""

    key: str
    hits: int
    bytes: int
    since_ms: int


class Kept:
    """The place of a key. Entries follow each other here, and what is known of the demand for them stays.

    `hits` since it is held. `spent` are those that have been turned into a longer stay; `counted` those that the
    last turn of the window saw, `recent` how many came within that window; `refreshed` those before which the last
    refresh ahead began.
    """

    __slots__ = ("bytes", "counted", "entry", "hits", "key", "recent", "refreshed", "since_ms", "spent")

    def __init__(self, key: str, entry: Entry, size: int, since_ms: int) -> None:
        self.key = key
        self.entry = entry
        self.bytes = size
        self.since_ms = since_ms
        self.hits = self.spent = self.counted = self.recent = 0
        self.refreshed = -1

    @property
    def heat(self) -> int:
        """Hits in this window and the one before."""
        return self.hits - self.counted + self.recent


class Local:
    """`limit_bytes` 0: nothing is kept. `knowledge` watches for changes what was read here."""

    def __init__(self, limit_bytes: int, knowledge: Knowledge, *, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit_bytes
        self._knowledge = knowledge
        self._clock = clock
        self._trial: OrderedDict[str, Kept] = OrderedDict()
        self._main: OrderedDict[str, Kept] = OrderedDict()
        self._left: OrderedDict[str, None] = OrderedDict()
        self._trial_bytes = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._trial) + len(self._main)

    def get(self, key: str) -> Entry | None:
        """For a reader: it counts."""
        kept = self._main.get(key) or self._trial.get(key)
        if kept is None:
            return None
        kept.hits += 1
        entry = kept.entry
        if not entry.watched:
            # Only now: most of what is read once is not read again.
            self._knowledge.watch(kept)
        return entry

    def peek(self, key: str) -> Entry | None:
        kept = self.place(key)
        return None if kept is None else kept.entry

    def place(self, key: str) -> Kept | None:
        return self._main.get(key) or self._trial.get(key)

    def put(self, key: str, entry: Entry) -> None:
        if not self._limit:
            return
        if (size := entry.size) > self._limit:
            self.drop(key)
            return
        if (kept := self.place(key)) is not None:
            self._replace(kept, entry, size)
        else:
            self._admit(Kept(key, entry, size, round(self._clock() * 1000)))
        while self.bytes > self._limit:
            if self._trial_bytes * _TRIAL > self._limit or not self._main:
                self._judge()
            else:
                self._turn_round()

    def drop(self, key: str) -> bool:
        if (kept := self._main.pop(key, None)) is None:
            if (kept := self._trial.pop(key, None)) is None:
                return False
            self._trial_bytes -= kept.bytes
        self._forget(kept)
        return True

    def clear(self) -> None:
        for key in [*self._trial, *self._main]:
            self.drop(key)
        self._left.clear()

    def held(self) -> Iterable[Held]:
        """Everything held, in no particular order."""
        for kept in self.places():
            yield Held(key=kept.key, hits=kept.heat, bytes=kept.bytes, since_ms=kept.since_ms)

    def places(self) -> list[Kept]:
        return [*self._main.values(), *self._trial.values()]

    def turn_window(self, places: Iterable[Kept]) -> None:
        """For these a new window begins, in which their hits count as of late."""
        for kept in places:
            kept.recent = kept.hits - kept.counted
            kept.counted = kept.hits

    def _admit(self, kept: Kept) -> None:
        if kept.key in self._left:
            del self._left[kept.key]
            self._main[kept.key] = kept
        else:
            self._trial[kept.key] = kept
            self._trial_bytes += kept.bytes
        self.bytes += kept.bytes

    def _replace(self, kept: Kept, entry: Entry, size: int) -> None:
        earlier, kept.entry = kept.entry, entry
        more = size - kept.bytes
        kept.bytes += more
        self.bytes += more
        if kept.key in self._trial:
            self._trial_bytes += more
        if earlier.watched:
            self._knowledge.watch(kept, earlier)

    def _judge(self) -> None:
        """The eldest on trial stays or leaves."""
        key, kept = self._trial.popitem(last=False)
        self._trial_bytes -= kept.bytes
        if kept.hits > 1:
            kept.spent = max(kept.spent, kept.hits - _MOST_TURNS)
            self._main[key] = kept
            return
        self._forget(kept)
        self._left[key] = None
        while len(self._left) > len(self):
            self._left.popitem(last=False)

    def _turn_round(self) -> None:
        """The eldest of the main queue goes round once more or leaves."""
        key, kept = self._main.popitem(last=False)
        if kept.hits > kept.spent:
            kept.spent = max(kept.spent + 1, kept.hits - _MOST_TURNS + 1)
            self._main[key] = kept
        else:
            self._forget(kept)

    def _forget(self, kept: Kept) -> None:
        self.bytes -= kept.bytes
        if kept.entry.watched:
            self._knowledge.unwatch(kept)

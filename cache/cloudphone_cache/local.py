"""L1: entries kept in this process, bounded by bytes, the longest unused dropped first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from .entry import Entry


class Held(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this process holds under a key: hits of late, bytes in memory, and since when (ms since 1970)."""

    key: str
    hits: int
    bytes: int
    since_ms: int


class Local:
    def __init__(self, limit_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit_bytes
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            entry.hits += 1
        return entry

    def put(self, key: str, entry: Entry) -> None:
        if not self._limit:
            return
        earlier = self._entries.get(key)
        entry.hits = earlier.hits if earlier is not None else 0
        entry.held = earlier.held if earlier is not None else round(self._clock() * 1000)
        self.drop(key)
        if entry.size > self._limit:
            return
        self._entries[key] = entry
        self.bytes += entry.size
        while self.bytes > self._limit:
            _, dropped = self._entries.popitem(last=False)
            self.bytes -= dropped.size

    def drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= entry.size
        return True

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def held(self) -> Iterable[Held]:
        """Everything held, in no particular order."""
        for key, entry in list(self._entries.items()):
            yield Held(key=key, hits=entry.hits, bytes=entry.size, since_ms=entry.held)

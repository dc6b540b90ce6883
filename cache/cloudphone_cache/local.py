"""L1: entries kept in this process, bounded by bytes, the longest unused dropped first."""

from collections import OrderedDict

from .entry import Entry


class Local:
    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        if not self._limit:
            return
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

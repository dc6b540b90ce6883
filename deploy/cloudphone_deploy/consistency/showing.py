"""What an answer shows: found by its markers in the bytes, and remembered by them."""

import re
from collections.abc import Mapping
from datetime import datetime

from .oracle import FOREVER, Ends, History, Oracle

# An owner's copy of a foreign name has another field's name, and is no part of what a view promises.
_MARKERS = re.compile(rb'"(?:name|deviceName|planName)":"checked-([udp]\d+)-(\d+)"').findall
REMEMBERED = 20_000


class Showing:
    """The names in one body, and whose: `codes`. `ends`: when the first of them was no longer the newest."""

    __slots__ = ("_ends", "_generation", "codes", "pairs")

    def __init__(self, pairs: tuple[tuple[History, int], ...]) -> None:
        self.pairs = pairs
        self.codes = frozenset(history.code for history, _ in pairs)
        self._ends: Ends | None = None
        self._generation = -1

    def ends(self, generation: int) -> Ends | None:
        """None while one of the names is not known to have been committed."""
        if generation != self._generation:
            self._generation = generation
            self._ends = self._ask()
        return self._ends

    def _ask(self) -> Ends | None:
        committed, visible = FOREVER
        for history, number in self.pairs:
            ends = history.ends(number)
            if ends is None:
                return None
            committed, visible = min(committed, ends.committed), min(visible, ends.visible)
        return Ends(committed, visible)

    def shown(self) -> Mapping[str, int]:
        return {history.code: number for history, number in self.pairs}


class Reader:
    """Reads bodies; the same bytes are read once."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._known: dict[bytes, Showing] = {}

    def read(self, body: bytes) -> Showing:
        found = self._known.get(body)
        if found is None:
            if len(self._known) > REMEMBERED:
                self._known.clear()
            pairs = tuple((self._oracle.history(code.decode()), int(number)) for code, number in _MARKERS(body))
            found = self._known[body] = Showing(pairs)
        return found


_minutes: dict[bytes, float] = {}


def moment(text: bytes) -> float:
    """Seconds since 1970 of `2026-01-31T12:00:00.000Z`."""
    minute = text[:16]
    begins = _minutes.get(minute)
    if begins is None:
        begins = _minutes[minute] = datetime.fromisoformat(minute.decode() + ":00+00:00").timestamp()
    return begins + float(text[17:-1])

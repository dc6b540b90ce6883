"""The phone's log: what `logcat` shows, in bounded memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

LARGEST = 256 << 10
"""Bytes of text that are kept; older lines go."""
LONGEST_LINE = 4000
LEVELS = "VDIWEF"


class Line(NamedTuple):
    """`number` counts lines since power on; `time` in seconds since 1970; `level` one of LEVELS."""

    number: int
    time: float
    pid: int
    level: str
    tag: str
    text: str

    def shown(self, format_: str) -> str:
        at = datetime.fromtimestamp(self.time, UTC).strftime("%m-%d %H:%M:%S.%f")[:-3]
        if format_ == "brief":
            return f"{self.level}/{self.tag:<8}({self.pid:5}): {self.text}"
        if format_ == "raw":
            return self.text
        if format_ == "tag":
            return f"{self.level}/{self.tag:<8}: {self.text}"
        if format_ == "time":
            return f"{at} {self.level}/{self.tag:<8}({self.pid:5}): {self.text}"
        return f"{at} {self.pid:5} {self.pid:5} {self.level} {self.tag:<8}: {self.text}"


class Log:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: deque[Line] = deque()
        self._size = self._last = 0
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, tag: str, text: str, *, level: str = "I", pid: int = 1000) -> None:
        for part in text.splitlines() or [""]:
            self._last += 1
            line = Line(self._last, self._clock(), pid, level, tag[:80], part[:LONGEST_LINE])
            self._lines.append(line)
            self._size += len(line.text) + len(line.tag) + 64
        while self._size > LARGEST:
            gone = self._lines.popleft()
            self._size -= len(gone.text) + len(gone.tag) + 64
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def after(self, number: int) -> list[Line]:
        """The lines that are still kept, in order."""
        if not self._lines or self._lines[-1].number <= number:
            return []
        return [line for line in self._lines if line.number > number]

    def clear(self) -> None:
        self._lines.clear()
        self._size = 0

    async def more(self) -> None:
        """Until the next line is written."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

"""What commands read from and write to."""

import asyncio
from typing import Protocol


class Source(Protocol):
    async def read(self, at_most: int = 1 << 18) -> bytes:
        """What there is, waiting until there is something; empty at the end."""
        ...


class Sink(Protocol):
    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when nobody reads any more."""
        ...


class Nothing:
    """/dev/null"""

    async def read(self, at_most: int = 1 << 18) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        pass


class Pipe:
    """Between two commands; holds one write until it has been read."""

    def __init__(self) -> None:
        self._held = b""
        self._closed = False
        self._changed = asyncio.Condition()

    async def write(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or not self._held)
            if self._closed:
                raise BrokenPipeError
            self._held = data
            self._changed.notify_all()

    async def read(self, at_most: int = 1 << 18) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._held)
            part, self._held = self._held[:at_most], self._held[at_most:]
            self._changed.notify_all()
            return part

    async def close(self) -> None:
        """From either side: what is held can still be read, nothing more can be written."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


async def read_all(source: Source, at_most: int) -> bytes:
    """Until its end, or `at_most` bytes of it."""
    parts: list[bytes] = []
    while at_most > 0 and (part := await source.read(at_most)):
        parts.append(part)
        at_most -= len(part)
    return b"".join(parts)

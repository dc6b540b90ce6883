"""One opened service: bytes both ways, at most one message unacknowledged in each direction."""

import asyncio
from typing import Protocol

from .wire import Command, ProtocolError


class Sender(Protocol):
    """What a stream needs of its connection. `send` waits while the other side does not read."""

    payload: int

    async def send(self, command: Command, first: int, second: int, payload: bytes = b"") -> None: ...


class StreamClosed(ConnectionError):
    """The other side closed the stream, or the connection ended."""


class Stream:
    """`id` is ours, `peer` the other side's; each message names both.

    What comes is acknowledged when it has been read, so that no more than one payload waits here.
    """

    def __init__(self, connection: Sender, number: int, peer: int) -> None:
        self.id, self.peer = number, peer
        self._connection = connection
        self._arrived = b""
        self._taken = 0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = False

    @property
    def waiting(self) -> int:
        """Bytes that have come and nobody has read."""
        return len(self._arrived)

    async def read(self, at_most: int = 1 << 18) -> bytes:
        """What has come, waiting until something has; empty at the end."""
        while not self._arrived:
            if self.closed:
                return b""
            self._readable.clear()
            await self._readable.wait()
        part = self._arrived[self._taken : self._taken + at_most]
        self._taken += len(part)
        if self._taken == len(self._arrived):
            self._arrived, self._taken = b"", 0
            if not self.closed:
                await self._connection.send(Command.OKAY, self.id, self.peer)
        return part

    async def read_exactly(self, length: int) -> bytes:
        """Raises StreamClosed when fewer come."""
        parts: list[bytes] = []
        while length:
            part = await self.read(length)
            if not part:
                raise StreamClosed
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Returns when all but the last part has been acknowledged. Raises StreamClosed."""
        for at in range(0, len(data), self._connection.payload):
            await self._writable.wait()
            if self.closed:
                raise StreamClosed
            self._writable.clear()
            part = data[at : at + self._connection.payload]
            await self._connection.send(Command.WRTE, self.id, self.peer, part)

    async def flush(self) -> None:
        """Until what was written has been acknowledged, or never will be."""
        await self._writable.wait()

    def arrive(self, payload: bytes) -> None:
        """Raises ProtocolError when the last payload is still unacknowledged."""
        if self._arrived:
            raise ProtocolError("a message before the last was acknowledged")
        self._arrived = payload
        self._readable.set()

    def acknowledge(self) -> None:
        self._writable.set()

    def end(self) -> None:
        """Nothing more will come or go; what has come can still be read."""
        self.closed = True
        self._readable.set()
        self._writable.set()

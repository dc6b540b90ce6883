"""The services `shell:` and `exec:`, and the protocol that keeps output, errors and status apart (shell_v2)."""

import struct

from cloudphone_phone.shell.running import Shell

from .stream import Stream, StreamClosed
from .terminal import interact

_PACKET = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = 0, 1, 2, 3, 4
_LARGEST_PACKET = 1 << 20
_PART = 64 << 10


class Plain:
    """Output and errors in one; the way before shell_v2, and of `exec`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, at_most: int = 1 << 18) -> bytes:
        return await self._stream.read(at_most)

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)


class Input:
    """What the other side sends for the command to read; other packets are skipped."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0
        self._ended = False

    async def read(self, at_most: int = 1 << 18) -> bytes:
        while not self._ended:
            if self._left:
                part = await self._stream.read(min(self._left, at_most))
                self._left -= len(part)
                self._ended = not part
                return part
            try:
                await self._next()
            except StreamClosed:
                self._ended = True
        return b""

    async def _next(self) -> None:
        kind, length = _PACKET.unpack(await self._stream.read_exactly(_PACKET.size))
        if length > _LARGEST_PACKET:
            raise StreamClosed
        if kind == _STDIN:
            self._left = length
        else:
            await self._stream.read_exactly(length)
            self._ended = kind == _CLOSE_STDIN


class Output:
    def __init__(self, stream: Stream, kind: int) -> None:
        self._stream, self._kind = stream, kind

    async def write(self, data: bytes) -> None:
        for at in range(0, len(data), _PART):
            part = data[at : at + _PART]
            await self._stream.write(_PACKET.pack(self._kind, len(part)) + part)


async def run_plain(stream: Stream, shell: Shell, line: str) -> None:
    plain = Plain(stream)
    await shell.run(line, plain, plain, plain)


async def run_apart(stream: Stream, shell: Shell, line: str) -> None:
    status = await shell.run(line, Input(stream), Output(stream, _STDOUT), Output(stream, _STDERR))
    await stream.write(_PACKET.pack(_EXIT, 1) + bytes([status & 0xFF]))


async def interact_plain(stream: Stream, shell: Shell) -> None:
    plain = Plain(stream)
    await interact(shell, plain, plain)


async def interact_apart(stream: Stream, shell: Shell, *, terminal: bool) -> None:
    await interact(shell, Input(stream), Output(stream, _STDOUT), terminal=terminal)
    await stream.write(_PACKET.pack(_EXIT, 1) + bytes([shell.status & 0xFF]))

"""The other side of the wire, in a few lines: for what the real adb does not do, or does too slowly."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HEADER = struct.Struct("<6I")
CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION = 0x01000001


def message(command: int, first: int = 0, second: int = 0, payload: bytes = b"", *, sum_: int = 0) -> bytes:
    return HEADER.pack(command, first, second, len(payload), sum_, command ^ 0xFFFFFFFF) + payload


class Host:
    """One connection; one service at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._last = 0

    async def receive(self) -> tuple[int, int, int, bytes]:
        async with asyncio.timeout(60):
            command, first, second, length, _, magic = HEADER.unpack(await self.reader.readexactly(HEADER.size))
            assert magic == command ^ 0xFFFFFFFF
            return command, first, second, await self.reader.readexactly(length)

    async def greet(self, version: int = VERSION, payload: int = 1 << 20) -> bytes:
        self.writer.write(
            message(CNXN, version, payload, b"host::features=shell_v2,cmd", sum_=sum(b"host::features=shell_v2,cmd"))
        )
        command, _, _, banner = await self.receive()
        assert command == CNXN
        return banner

    async def call(self, service: str, given: bytes = b"") -> bytes | None:
        """All that the service says; None when there is no such service."""
        self._last += 1
        mine = self._last
        self.writer.write(message(OPEN, mine, 0, service.encode("utf-8", "surrogateescape") + b"\0"))
        said = b""
        theirs = sent = 0
        while True:
            command, first, second, payload = await self.receive()
            if second != mine:
                continue
            if command == CLSE:
                return said if theirs else None
            if command == WRTE:
                said += payload
                self.writer.write(message(OKAY, mine, first))
            elif command == OKAY:
                theirs = first
                part = given[sent : sent + (1 << 16)]
                sent += len(part)
                if part:
                    self.writer.write(message(WRTE, mine, theirs, part))

    async def run(self, line: str, given: bytes = b"") -> str:
        """Output and errors of a command."""
        said = await self.call(f"exec:{line}", given)
        assert said is not None
        return said.decode()

    async def install(self, apk: bytes, *options: str) -> str:
        """`Success`, or Android's word for what is wrong."""
        said = await self.run(f"cmd package install {' '.join(options)} -S {len(apk)}", apk)
        return said.removeprefix("Failure [").split(":")[0].split("]")[0].strip()


@asynccontextmanager
async def host(address: tuple[str, int], *, greet: bool = True) -> AsyncIterator[Host]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        found = Host(reader, writer)
        if greet:
            await found.greet()
        yield found
    finally:
        writer.transport.abort()

"""The adb server's own protocol: a connection a question, bytes after `OKAY`.

Source: Android's packages/modules/adb/SERVICES.TXT. Whatever comes is measured before it is taken: a phone is a
customer's, and may say anything.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from .errors import AdbServerAway, PhoneAway, PhoneRefused

_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}:[0-9]{1,5}")
_LONGEST_WORDS = 1 << 20


class Channel:
    """Methods raise PhoneAway."""

    def __init__(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self._reader, self._writer = reader, writer

    @property
    def ended(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    async def exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except (EOFError, OSError) as error:
            raise PhoneAway(self.address, f"the connection ended ({type(error).__name__})") from None

    async def some(self, at_most: int = 1 << 18) -> bytes:
        """Empty at the end."""
        try:
            return await self._reader.read(at_most)
        except OSError as error:
            raise PhoneAway(self.address, f"the connection ended ({error.strerror})") from None

    async def to_the_end(self, at_most: int) -> bytes:
        said = bytearray()
        while part := await self.some():
            said += part
            if len(said) > at_most:
                raise PhoneAway(self.address, f"it said more than {at_most} bytes")
        return bytes(said)

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise PhoneAway(self.address, f"the connection ended ({error.strerror})") from None

    async def ask(self, service: str) -> None:
        """Until `OKAY`. Raises PhoneRefused when nobody may talk to this phone yet."""
        asked = service.encode()
        await self.write(b"%04x%b" % (len(asked), asked))
        answer = await self.exactly(4)
        if answer == b"OKAY":
            return
        if answer != b"FAIL":
            raise PhoneAway(self.address, f"instead of OKAY it said {answer!r}")
        why = await self.words()
        if "unauthorized" in why or "authorizing" in why:
            raise PhoneRefused("unauthorized", f"The phone {self.address} does not know this adb's key")
        raise PhoneAway(self.address, why[:200])

    async def words(self) -> str:
        """A text whose length comes first, as four hexadecimal digits."""
        length = await self.exactly(4)
        try:
            size = int(length, 16)
        except ValueError:
            raise PhoneAway(self.address, f"{length!r} is no length") from None
        return (await self.exactly(min(size, _LONGEST_WORDS))).decode("utf-8", "replace")

    def close(self) -> None:
        self._writer.transport.abort()


class AdbServer:
    """Where one listens. `longest` in bytes: of a command that it takes."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def open(self, service: str, address: str = "") -> Channel:
        """To the service of a phone, or to the server's own. Raises PhoneAway and PhoneRefused."""
        channel = await self._connected(address)
        try:
            if address:
                await channel.ask(f"host:tport:serial:{checked(address)}")
                await channel.exactly(8)
            await channel.ask(service)
        except BaseException:
            channel.close()
            raise
        return channel

    @asynccontextmanager
    async def opened(self, service: str, address: str = "") -> AsyncGenerator[Channel]:
        channel = await self.open(service, address)
        try:
            yield channel
        finally:
            channel.close()

    async def _connected(self, address: str) -> Channel:
        name = address or f"adb server {self.host}:{self.port}"
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError as error:
            raise AdbServerAway(name, f"the adb server gives no answer ({error.strerror or error})") from None
        return Channel(name, reader, writer)


def checked(address: str) -> str:
    """Raises ValueError for what is no `host:port`: it becomes part of a command."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no address of a phone")
    return address


@contextmanager
def told_as_away(address: str, deadline: asyncio.Timeout, seconds: float) -> Generator[None]:
    try:
        yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise PhoneAway(address, f"no answer within {seconds:g} s") from None


@asynccontextmanager
async def within(seconds: float, address: str) -> AsyncGenerator[None]:
    """Raises PhoneAway when the time is up."""
    deadline = asyncio.timeout(seconds)
    with told_as_away(address, deadline, seconds):
        async with deadline:
            yield

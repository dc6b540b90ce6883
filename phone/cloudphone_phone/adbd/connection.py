"""One connection to a phone: the handshake, then any number of streams, all within limits."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from .stream import Stream, StreamClosed
from .wire import (
    FIRST_PAYLOAD,
    HEADER,
    LARGEST_PAYLOAD,
    VERSION,
    VERSION_WITH_CHECKSUMS,
    Command,
    ProtocolError,
    checksum,
    message,
    read_header,
)

log = structlog.get_logger()

MOST_STREAMS = 64
"""Open at once in one connection; what comes above is refused as an unknown service is."""
MOST_WAITING = 8 << 20
"""Bytes in one connection that have come and that no service has read yet."""
HANDSHAKE_SECONDS = 30.0
HANG_UP_SECONDS = 2.0
"""From the other side's closing a stream to the end of what still runs for it."""
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3

Service = Callable[[Stream], Awaitable[None]]


class Device(Protocol):
    """What a connection is to. It accepts anybody's key, or nobody's; `silent`: it is stuck."""

    @property
    def greeting(self) -> bytes: ...
    @property
    def authorized(self) -> bool: ...
    @property
    def silent(self) -> bool: ...
    def service(self, name: str) -> Service | None: ...


class Connection:
    """`payload`: bytes that one message may carry, either way."""

    def __init__(self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.payload = FIRST_PAYLOAD
        self._device, self._reader, self._writer = device, reader, writer
        self._version = VERSION_WITH_CHECKSUMS
        self._streams: dict[int, Stream] = {}
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._last_id = 0
        self._agreed = FIRST_PAYLOAD
        self._introduced = self._connected = False

    async def run(self) -> None:
        """Until either side ends it; whatever comes."""
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                while not self._introduced:
                    await self._next()
            while True:
                await self._next()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        except ProtocolError as error:
            log.info("adb_connection_refused", reason=str(error))
        finally:
            self.drop()

    def drop(self) -> None:
        """At once: streams end, and what was not sent is lost."""
        for stream in self._streams.values():
            stream.end()
        self._streams.clear()
        for task in self._serving.values():
            task.cancel()
        self._writer.transport.abort()

    async def admit(self) -> None:
        """Connects one who waits for authorization, as if its key had been accepted on the screen."""
        if self._introduced and not self._connected:
            await self._connect()

    async def send(self, command: Command, first: int, second: int, payload: bytes = b"") -> None:
        self._writer.write(message(command, first, second, payload, summed=self._version < VERSION))
        await self._writer.drain()

    async def _next(self) -> None:
        header = read_header(await self._reader.readexactly(HEADER.size), self.payload)
        payload = await self._reader.readexactly(header.length) if header.length else b""
        if self._version < VERSION and header.checksum != checksum(payload) and self._connected:
            raise ProtocolError("checksum")
        if self._device.silent:
            return
        command, first, second = header.command, header.first, header.second
        if command == Command.CNXN:
            await self._greet(first, second)
        elif command == Command.AUTH:
            await self._authenticate(first)
        elif not self._connected:
            raise ProtocolError("no handshake")
        elif command == Command.OPEN:
            await self._open(first, payload)
        else:
            self._pass_on(command, first, second, payload)

    async def _greet(self, version: int, payload: int) -> None:
        if self._connected:
            raise ProtocolError("a second handshake")
        if payload < FIRST_PAYLOAD:
            raise ProtocolError("too small a payload")
        self._introduced = True
        self._version = min(version, VERSION)
        self._agreed = min(payload, LARGEST_PAYLOAD)
        if self._device.authorized:
            await self._connect()
        else:
            await self.send(Command.AUTH, _TOKEN, 0, secrets.token_bytes(20))

    async def _connect(self) -> None:
        self._connected = True
        self.payload = self._agreed
        await self.send(Command.CNXN, VERSION, LARGEST_PAYLOAD, self._device.greeting)

    async def _authenticate(self, kind: int) -> None:
        """No signature is known here; a public key waits for somebody to accept it."""
        if not self._introduced or self._connected:
            raise ProtocolError("nothing to authenticate")
        if self._device.authorized:
            await self._connect()
        elif kind == _SIGNATURE:
            await self.send(Command.AUTH, _TOKEN, 0, secrets.token_bytes(20))

    async def _open(self, peer: int, payload: bytes) -> None:
        name = payload.rstrip(b"\0").decode("utf-8", "surrogateescape")
        service = self._device.service(name) if peer and len(self._serving) < MOST_STREAMS else None
        if service is None:
            await self.send(Command.CLSE, 0, peer)
            return
        self._last_id = self._last_id % 0xFFFFFFFF + 1
        stream = self._streams[self._last_id] = Stream(self, self._last_id, peer)
        await self.send(Command.OKAY, stream.id, peer)
        task = self._serving[stream.id] = asyncio.create_task(self._serve(service, stream))
        task.add_done_callback(lambda _: self._serving.pop(stream.id, None))

    async def _serve(self, service: Service, stream: Stream) -> None:
        try:
            await service(stream)
            await stream.flush()
        except StreamClosed:
            pass
        except Exception:
            log.exception("adb_service_failed")
        finally:
            self._streams.pop(stream.id, None)
            if not stream.closed:
                stream.end()
                with contextlib.suppress(ConnectionError):
                    await self.send(Command.CLSE, stream.id, stream.peer)

    def _pass_on(self, command: int, peer: int, id_: int, payload: bytes) -> None:
        stream = self._streams.get(id_)
        if stream is None or stream.peer != peer:
            return
        if command == Command.WRTE:
            if payload:
                stream.arrive(payload)
                if sum(each.waiting for each in self._streams.values()) > MOST_WAITING:
                    raise ProtocolError("too much that nobody reads")
        elif command == Command.OKAY:
            stream.acknowledge()
        elif command == Command.CLSE:
            self._streams.pop(id_)
            stream.end()
            asyncio.get_running_loop().call_later(HANG_UP_SECONDS, self._hang_up, id_)

    def _hang_up(self, id_: int) -> None:
        task = self._serving.get(id_)
        if task is not None:
            task.cancel()

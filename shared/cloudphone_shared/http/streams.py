"""Bodies that pass in pieces: a connection each, and never more of one in memory than a few pieces.

How long a transfer takes is its size's affair. What has a bound is each step: a service that takes nothing, or says
nothing though it has everything, for `patience` seconds is away; so is a sender who sends nothing for a minute.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import httptools
import httpx

from ..errors import Invalid

T = TypeVar("T")

PIECE_BYTES = 65_536
_SENDER_SECONDS = 60.0


class WireError(Exception):
    """The exchange failed: no connection, a connection lost, or no HTTP."""


class Flow(Protocol):
    """An answer whose head has come. Header names are in lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, once. Raises WireError, TimeoutError."""
        ...


@asynccontextmanager
async def flowing(
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    head: bytes,
    body: AsyncIterable[bytes] | None,
    *,
    chunked: bool,
    bodiless: bool,
    patience: float,
) -> AsyncGenerator[Flow]:
    """One exchange on a connection of its own. Raises WireError, TimeoutError, and whatever reading `body` raises."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=PIECE_BYTES)
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise WireError(f"{type(error).__name__}: {error}") from error
    sending = asyncio.create_task(_send(writer, head, body, chunked=chunked, patience=patience))
    try:
        answer = _Answer(reader, bodiless=bodiless, patience=patience)
        await _head_of(answer, sending, patience)
        yield answer
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await sending
        writer.transport.abort()


async def _send(
    writer: asyncio.StreamWriter, head: bytes, body: AsyncIterable[bytes] | None, *, chunked: bool, patience: float
) -> None:
    writer.write(head)
    async for piece in sent(body):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await _within(writer.drain(), patience)
    if chunked:
        writer.write(b"0\r\n\r\n")
    await _within(writer.drain(), patience)


async def _within(waiting: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await waiting


async def sent(body: AsyncIterable[bytes] | None) -> AsyncIterator[bytes]:
    """The pieces of a sender's body that hold something. Raises Invalid once the sender has paused for a minute."""
    if body is None:
        return
    pieces = aiter(body)
    while True:
        try:
            async with asyncio.timeout(_SENDER_SECONDS):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Invalid("The rest of the body did not come in time") from None
        if piece:
            yield piece


async def _head_of(answer: "_Answer", sending: asyncio.Task[None], patience: float) -> None:
    """Waits for the head: as long as the body is on its way, and `patience` seconds after it."""
    reading = asyncio.create_task(answer.begin())
    try:
        await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            # Who refuses a body may close before it has all: what was said is still there to be read.
            lost = sending.exception()
            if lost is not None and not isinstance(lost, ConnectionError):
                raise lost
        async with asyncio.timeout(patience):
            await reading
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading


class _Answer:
    """An httptools parser's callbacks, fed as the body is asked for."""

    def __init__(self, reader: asyncio.StreamReader, *, bodiless: bool, patience: float) -> None:
        self.headers: dict[str, str] = {}
        self._reader = reader
        self._bodiless = bodiless
        self._patience = patience
        self._parser: Any = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._begun = self._whole = False

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    async def begin(self) -> None:
        while not self._begun:
            await self._feed()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while True:
            ready, self._pieces = self._pieces, []
            for piece in ready:
                yield piece
            if self._whole or self._bodiless:
                return
            await _within(self._feed(), self._patience)

    async def _feed(self) -> None:
        try:
            data = await self._reader.read(PIECE_BYTES)
            if not data:
                raise WireError("the connection was lost: closed")
            self._parser.feed_data(data)
        except ConnectionError as error:
            raise WireError(f"the connection was lost: {error}") from error
        except httptools.HttpParserError as error:
            raise WireError(f"its answer is no HTTP: {error}") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        # An interim answer, such as 100, is followed by another head.
        self._begun = self.status >= 200
        if not self._begun:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._whole = self._begun


class _FromHttpx:
    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._response.aiter_raw():
            yield piece


@asynccontextmanager
async def flowing_by(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
) -> AsyncGenerator[Flow]:
    """The same by an httpx transport, such as that of an app in the same process."""
    try:
        response = await transport.handle_async_request(request)
    except httpx.TimeoutException as error:
        raise TimeoutError from error
    except httpx.HTTPError as error:
        raise WireError(f"{type(error).__name__}: {error}") from error
    try:
        yield _FromHttpx(response)
    finally:
        await response.aclose()


async def whole(flow: Flow, most: int) -> bytes:
    """The body, or its first `most` bytes."""
    found = b""
    async with aclosing(flow.pieces()) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) >= most:
                break
    return found[:most]

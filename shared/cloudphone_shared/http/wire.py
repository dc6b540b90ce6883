"""The wire under a service's client: one exchange, bytes in and bytes out.

HTTP/1.1 on connections of our own, parsed by httptools: a twentieth of the processor time that httpx over aiohttp
took (docs/decisions/0012). An httpx transport stands in for it where a test, or an app in the same process, gives one.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import httptools
import httpx

from .streams import Flow, WireError, flowing, flowing_by, sent

__all__ = ["Http11", "Httpx", "Reply", "Wire", "WireError"]

_IDLE_SECONDS = 15.0
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})


class Reply(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None


class Wire(Protocol):
    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """`target` is the path with its query, percent-encoded; headers are printable ASCII.

        Raises WireError, TimeoutError.
        """
        ...

    def flow(
        self, method: str, target: str, headers: Mapping[str, str], body: AsyncIterable[bytes] | None, patience: float
    ) -> AbstractAsyncContextManager[Flow]:
        """As `exchange`, in pieces both ways; what it raises is said in `streams`. A body whose Content-Length is not
        among the headers goes out in chunks."""
        ...

    async def close(self) -> None: ...


class Http11:
    """Connections to one service, kept alive, one request at a time on each. Who uses it bounds their number."""

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._host = url.hostname or "127.0.0.1"
        self._port = url.port or (443 if self._tls else 80)
        self._prefix = url.path.rstrip("/")
        self._authority = url.netloc.rpartition("@")[2]
        self._idle: list[_Connection] = []

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        packed = self._packed(method, target, headers, body)
        connection = self._rested()
        if connection is not None:
            try:
                return await self._ask(connection, packed)
            except _Closed:
                # The service closed it for its idleness while we wrote; it has not looked at what came then.
                if method not in _REPEATABLE:
                    raise
        return await self._ask(await self._opened(), packed)

    def flow(
        self, method: str, target: str, headers: Mapping[str, str], body: AsyncIterable[bytes] | None, patience: float
    ) -> AbstractAsyncContextManager[Flow]:
        chunked = body is not None and "Content-Length" not in headers
        more = {"Transfer-Encoding": "chunked"} if chunked else {}
        if body is None and method not in ("GET", "HEAD", "DELETE"):
            more = {"Content-Length": "0"}
        head = self._head(method, target, {**headers, **more, "Connection": "close"})
        return flowing(
            self._host, self._port, self._tls, head, body,
            chunked=chunked, bodiless=method == "HEAD", patience=patience,
        )  # fmt: skip

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    async def _ask(self, connection: "_Connection", packed: bytes) -> Reply:
        try:
            reply = await connection.ask(packed)
        except BaseException:
            connection.abort()
            raise
        if connection.kept:
            connection.rests_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    async def _opened(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise WireError(f"{type(error).__name__}: {error}") from error
        return connection

    def _rested(self) -> "_Connection | None":
        """The connection used last, if it is good still."""
        while self._idle:
            connection = self._idle.pop()
            if connection.kept and time.monotonic() < connection.rests_since + _IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _packed(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if body is not None or method not in ("GET", "DELETE"):
            headers = {**headers, "Content-Length": str(len(body or b""))}
        return self._head(method, target, headers) + (body or b"")

    def _head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode("ascii")


class _Closed(WireError):
    """The connection was lost before anything came back."""


class _Connection(asyncio.Protocol):
    """`kept` while another request may be sent."""

    def __init__(self) -> None:
        self.kept = True
        self.rests_since = 0.0
        self._transport: Any = None
        self._parser: Any = None
        self._reply: asyncio.Future[Reply] | None = None
        self._pieces: list[bytes] = []
        self._retry_after: str | None = None
        self._heard = False

    async def ask(self, packed: bytes) -> Reply:
        if not self.kept:
            raise _Closed("the connection was closed")
        self._reply = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._pieces, self._retry_after, self._heard = [], None, False
        self._transport.write(packed)
        return await self._reply

    def abort(self) -> None:
        self.kept = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.kept = False
        self._fail((WireError if self._heard else _Closed)(f"the connection was lost: {exc or 'closed'}"))

    def data_received(self, data: bytes) -> None:
        if self._reply is None or self._reply.done():
            # Nobody asked.
            self.abort()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(WireError(f"its answer is no HTTP: {error}"))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.kept = self.kept and self._parser.should_keep_alive()
        if self._reply is not None and not self._reply.done():
            reply = Reply(self._parser.get_status_code(), b"".join(self._pieces), self._retry_after)
            self._reply.set_result(reply)

    def _fail(self, error: WireError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


class Httpx:
    """By an httpx transport, such as that of an app in the same process."""

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        request = httpx.Request(method, self._base_url + target, headers=dict(headers), content=body)
        try:
            response = await self._transport.handle_async_request(request)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except httpx.HTTPError as error:
            raise WireError(f"{type(error).__name__}: {error}") from error
        return Reply(response.status_code, content, response.headers.get("Retry-After"))

    def flow(
        self, method: str, target: str, headers: Mapping[str, str], body: AsyncIterable[bytes] | None, patience: float
    ) -> AbstractAsyncContextManager[Flow]:
        content = None if body is None else sent(body)
        return flowing_by(
            self._transport, httpx.Request(method, self._base_url + target, headers=dict(headers), content=content)
        )

    async def close(self) -> None:
        await self._transport.aclose()

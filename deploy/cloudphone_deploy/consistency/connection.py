"""One keep-alive HTTP/1.1 connection, one request at a time: lean, so that the checker leaves the cores to others."""

import asyncio
import json
import time
from typing import NamedTuple, cast
from urllib.parse import urlsplit

CONNECT_SECONDS = 2.0


class Reply(NamedTuple):
    """`sent` and `received` in seconds since 1970; `head` as it came, without the empty line."""

    status: int
    head: bytes
    body: bytes
    sent: float
    received: float

    def header(self, name: bytes) -> bytes:
        """Empty when there is none. `name` in lower case."""
        return header_in(self.head, name)


class Line(asyncio.Protocol):
    """Connects at need, and anew after a loss. `base` is a URL such as `http://127.0.0.1:30010`."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._buffer = b""
        self._need = 0
        self._sent = 0.0

    async def ask(self, request: bytes) -> Reply:
        """Raises OSError when the connection fails, or is closed by `cut` or by the other end."""
        if self._transport is None or self._transport.is_closing():
            await self._connect()
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._sent = time.time()
        self._transport.write(request)
        return await self._waiting

    def cut(self, older_than: float = 0.0) -> None:
        """Gives up a request that has waited for longer than so many seconds."""
        if self._waiting is not None and not self._waiting.done() and time.time() - self._sent >= older_than:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(lambda: self, self._host, self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer, self._need = b"", 0

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if len(buffer) < self._need:
            return
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self._need:
            self._need = end + 4 + int(header_in(buffer[:end], b"content-length") or 0)
            if len(buffer) < self._need:
                return
        self._buffer, self._need = b"", 0
        if self._waiting is not None and not self._waiting.done():
            status = int(buffer[9:12])
            self._waiting.set_result(Reply(status, buffer[:end], buffer[end + 4 :], self._sent, time.time()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("the connection was closed before its answer"))


def header_in(head: bytes, name: bytes) -> bytes:
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        at = head.lower().find(b"\r\n" + name + b":")
        if at < 0:
            return b""
    begins = at + len(name) + 3
    ends = head.find(b"\r\n", begins)
    return head[begins : ends if ends >= 0 else len(head)].strip()


def request(method: str, path: str, token: str = "", body: object = None, **headers: str) -> bytes:
    """`headers` by their names with underscores, as in `fresh_after`."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: cloudphone"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content

"""The hot connection to Redis: one socket, commands of all requests in one write, a budget instead of patience."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis

from .redis import Address, Argument, RedisAway, RedisRefused, greet, master_of, pack, tls_of


class Later:
    """A reply nobody waits for: replies come in order, so it is there once a later one is."""

    __slots__ = ("_waiting", "done", "value")

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        """Redis' answer, or the error met instead of it."""
        self._waiting: asyncio.Future[None] | None = None

    def settle(self, value: Any) -> None:
        self.value, self.done = value, True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def reply(self) -> Any:
        """The value, waited for after all."""
        if not self.done:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self.value


class Routed(asyncio.Future[Any]):
    """A reply that a cluster may ask for again elsewhere."""

    packed: bytes
    hops: int


Waiter: TypeAlias = asyncio.Future[Any] | Later

_AT_ONCE = 16
_LATE = 0.01
_LOST_AFTER = 20
"""Budgets without an answer after which the connection is given up."""


class Pipelined:
    """Commands are written when 16 are pending or at the next turn of the loop, whichever is first.

    A reply that takes longer than `budget_ms` raises RedisAway; until the next reply arrives, so does every command,
    at once. Connecting, and connecting again, happens in the background.
    """

    def __init__(self, address: Address, *, budget_ms: float = 50.0, node: tuple[str, int] | None = None) -> None:
        """To `node` of a cluster, else to the master, wherever that is when connecting."""
        self._address = address
        self._node = node
        self._budget = budget_ms / 1000
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self.connected = asyncio.Event()
        self.redirect: Callable[[Routed, str], bool] | None = None
        self.commands = self.writes = self.overdue = self.reconnects = 0

    async def start(self) -> None:
        """Begins to connect; does not wait for it."""
        self._loop = asyncio.get_running_loop()
        self._connecting = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
            self._connecting = None
        if self._connection:
            self._connection.drop("closed")

    @property
    def available(self) -> bool:
        connection = self._connection
        return connection is not None and not connection.slow

    def send(self, key: bytes, packed: bytes) -> "asyncio.Future[Any]":
        """Raises RedisAway at once while Redis is away. `key` says which node; there is but one here."""
        waiter = self._loop.create_future()
        self._put(packed, waiter)
        return waiter

    def later(self, key: bytes, packed: bytes) -> Later:
        waiter = Later()
        self._put(packed, waiter)
        return waiter

    def route(self, packed: bytes, waiter: Waiter) -> None:
        self._put(packed, waiter)

    def __call__(self, *arguments: Argument) -> "asyncio.Future[Any]":
        return self.send(b"", pack(*arguments))

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return await self.send(b"", pack(b"MGET", *keys))

    async def everywhere(self, packed: bytes) -> None:
        """For what every node must know, such as a script."""
        await self.send(b"", packed)

    def _put(self, packed: bytes, waiter: Waiter) -> None:
        connection = self._connection
        if connection is None or connection.slow:
            raise RedisAway("slow" if connection else "not connected")
        self.commands += 1
        connection.put(packed, waiter)

    async def _keep_connected(self) -> None:
        pause = 0.02
        while True:
            connection = _Connection(self, self._budget)
            try:
                async with asyncio.timeout(1.0):
                    await self._connect(connection)
            except (OSError, TimeoutError, RedisAway, RedisRefused):
                connection.drop("could not connect")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
                continue
            pause = 0.02
            self._connection = connection
            self.connected.set()
            await connection.lost.wait()
            self._connection = None
            self.connected.clear()
            self.reconnects += 1

    async def _connect(self, connection: "_Connection") -> None:
        host, port = self._node or await master_of(self._address)
        await self._loop.create_connection(lambda: connection, host, port, ssl=tls_of(self._address))

        # A stopped server still accepts connections; only an answer shows that it lives.
        async def ask(packed: bytes) -> Any:
            waiter = self._loop.create_future()
            connection.put(packed, waiter)
            return await waiter

        await greet(ask, self._address, master=self._node is None)


class _Connection(asyncio.Protocol):
    def __init__(self, owner: Pipelined, budget: float) -> None:
        self._owner = owner
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._waiters: deque[tuple[float, Waiter]] = deque()
        self._pending: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._socket = -1
        self._watching = False
        self._look_at = 0.0
        self.slow = False
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        if transport.get_extra_info("ssl_object") is None:
            self._socket = transport.get_extra_info("socket").fileno()

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = -1
        self.drop("the connection was lost")

    def data_received(self, data: bytes) -> None:
        self.slow = False
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not Ellipsis:
            if not self._waiters:
                self.drop("a reply to nothing")
                return
            self._settle(self._waiters.popleft()[1], reply)

    def put(self, packed: bytes, waiter: Waiter) -> None:
        if not self._pending:
            self._loop.call_soon(self._write)
        self._pending.append(packed)
        self._waiters.append((self._loop.time(), waiter))
        if len(self._pending) >= _AT_ONCE:
            self._write()
        if not self._watching:
            self._watching = True
            self._look_again(self._budget)

    def drop(self, why: str) -> None:
        """Gives the connection up; everybody who waits is told."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            self._socket = -1
        self._pending.clear()
        while self._waiters:
            _fail(self._waiters.popleft()[1], why)
        self.lost.set()

    def _settle(self, waiter: Waiter, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._refuse(waiter, str(reply))
        elif isinstance(waiter, Later):
            waiter.settle(reply)
        elif not waiter.done():
            waiter.set_result(reply)

    def _refuse(self, waiter: Waiter, text: str) -> None:
        redirect = self._owner.redirect
        if isinstance(waiter, Later):
            waiter.settle(RedisRefused(text))
        elif waiter.done():
            pass
        elif redirect is not None and isinstance(waiter, Routed) and redirect(waiter, text):
            return
        else:
            waiter.set_exception(RedisRefused(text))
        # Demoted, or not loaded yet: another server may answer to the name by now.
        if text.startswith(("READONLY", "LOADING", "MASTERDOWN", "NOAUTH")):
            self._loop.call_soon(self.drop, text)

    def _write(self) -> None:
        if not self._pending or self._transport is None:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        self._owner.writes += 1
        if self._socket >= 0 and not self._transport.get_write_buffer_size():
            # Now, rather than at the end of the loop's turn: Redis works while the turn goes on.
            try:
                sent = os.write(self._socket, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.drop("the connection was lost")
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._transport.write(data)

    def _watch(self) -> None:
        # One timer for all: replies come in order and budgets are equal, so the eldest is overdue first.
        now = self._loop.time()
        if now - self._look_at > _LATE:
            # This process stood still, not Redis: let the replies in first.
            self._look_again(0.002)
            return
        limit = now - self._budget
        oldest = now
        for asked, waiter in self._waiters:
            if asked > limit:
                oldest = min(oldest, asked)
                break
            if _fail(waiter, "over its budget"):
                self._owner.overdue += 1
            self.slow = True
        if self.slow and self._waiters and self._waiters[0][0] < now - self._budget * _LOST_AFTER:
            self.drop("no answer for too long")
        if self._waiters:
            self._look_again(self._budget / 2 if self.slow else max(oldest + self._budget - now, 0.001))
        else:
            self._watching = False

    def _look_again(self, wait: float) -> None:
        self._look_at = self._loop.time() + wait
        self._loop.call_later(wait, self._watch)


def _fail(waiter: Waiter, why: str) -> bool:
    if isinstance(waiter, Later):
        if waiter.done:
            return False
        waiter.settle(RedisAway(why))
        return True
    if waiter.done():
        return False
    waiter.set_exception(RedisAway(why))
    # Whoever asked may have gone; then nobody is told, not even the log.
    waiter.exception()
    return True

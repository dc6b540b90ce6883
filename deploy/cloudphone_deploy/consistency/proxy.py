"""Stands before the services, a process of its own: passes bytes on, late or not at all when told to.

`python -m cloudphone_deploy.consistency.proxy CONTROL_PORT LISTEN:TARGET…`. The control port takes one JSON line per
order and answers `ok`.
"""

import asyncio
import contextlib
import sys
from typing import cast

import msgspec
import uvloop


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """For the proxy that listens on `port`: seconds that every piece is held back, and whether to hang up at once."""

    port: int
    delay: float = 0.0
    refuse: bool = False


async def tell(control_port: int, order: Order) -> None:
    """Raises OSError when the proxy is not there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", control_port)
    try:
        writer.write(msgspec.json.encode(order) + b"\n")
        await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()


class Proxy:
    """`order` is what is done to everything that comes through from now on."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.order = Order(port=port)
        self._target = target
        self._through: set[Side] = set()

    async def listen(self) -> None:
        await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", self.port, backlog=1024)

    def follow(self, order: Order) -> None:
        self.order = order
        if order.refuse:
            for side in list(self._through):
                side.hang_up()

    def _accept(self) -> "Side":
        caller, service = Side(self), Side(self)
        caller.other, service.other = service, caller
        return caller

    async def connect(self, service: "Side") -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: service, "127.0.0.1", self._target)
        except OSError:
            assert service.other
            service.other.hang_up()

    def enter(self, side: "Side") -> None:
        self._through.add(side)

    def leave(self, side: "Side") -> None:
        self._through.discard(side)


class Side(asyncio.Protocol):
    """One of a pair of connections. What arrives before the other one stands is kept."""

    def __init__(self, proxy: Proxy) -> None:
        self.other: Side | None = None
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        self._kept: list[bytes] = []
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.other
        # uvloop's transports are none by inheritance.
        self._transport = transport = cast("asyncio.Transport", transport)
        self._proxy.enter(self)
        if self._proxy.order.refuse:
            self.hang_up()
        elif self.other._transport is None:
            self._dialling = asyncio.ensure_future(self._proxy.connect(self.other))
        for piece in self._kept:
            transport.write(piece)
        self._kept.clear()

    def data_received(self, data: bytes) -> None:
        assert self.other
        if delay := self._proxy.order.delay:
            asyncio.get_running_loop().call_later(delay, self.other.send, data)
        else:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._kept.append(data)
        else:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.leave(self)
        if self.other and self.other._transport:
            self.other._transport.close()

    def hang_up(self) -> None:
        if self._transport:
            self._transport.abort()


async def serve(control_port: int, proxies: dict[int, Proxy]) -> None:
    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                order = msgspec.json.decode(line, type=Order)
                proxies[order.port].follow(order)
                writer.write(b"ok\n")
        writer.close()

    for proxy in proxies.values():
        await proxy.listen()
    control = await asyncio.start_server(obey, "127.0.0.1", control_port)
    await control.serve_forever()


if __name__ == "__main__":
    control, *pairs = sys.argv[1:]
    ports = [tuple(int(port) for port in pair.split(":")) for pair in pairs]
    uvloop.run(serve(int(control), {port: Proxy(port, target) for port, target in ports}))

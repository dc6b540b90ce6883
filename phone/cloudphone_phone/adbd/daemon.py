"""The phone's adbd: listens, and keeps the connections that were made."""

import asyncio

from .connection import Connection, Device

MOST_CONNECTIONS = 16
"""At once to one phone; the next one is closed as soon as it is made."""


class Daemon:
    """Binds `host` and `port` (0: any free one); `port` then says which."""

    def __init__(self, device: Device, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._device = device
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=1 << 16)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._connections.values())
        self.drop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self) -> None:
        """Ends every connection; new ones are taken."""
        for connection in list(self._connections):
            connection.drop()

    async def admit(self) -> None:
        for connection in list(self._connections):
            await connection.admit()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS or self._server is None:
            writer.transport.abort()
            return
        connection = Connection(self._device, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        try:
            await connection.run()
        finally:
            del self._connections[connection]

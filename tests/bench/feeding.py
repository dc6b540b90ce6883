"""A feed as fast as one likes: `python -m tests.bench.feeding PORT`, with Redis there and nobody else appending.

Each line of its input is a number of changes a second from then on, and whose they are: the device service's, of
200,000 devices that no view shows, or `unheard`, of a feed that nobody reads. Every service's heartbeats go on beside
them, four a second.
"""

import asyncio
import sys
import time
import uuid

import uvloop

from cloudphone_cache.feed import stream_of
from cloudphone_cache.knowledge import INCARNATION
from cloudphone_shared.clients import SERVICES

UNHEARD = "unheard"
_TICK = 0.004
_BEAT = 0.25
_LENGTH = b"200000"


def _pack(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Feeding:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last = {UNHEARD: INCARNATION}
        self._entities = [f"device:{uuid.uuid4()}".encode() for _ in range(200_000)]
        self.rate = 0.0
        self.service = "device"

    async def begin(self) -> None:
        """Numbers go on where the streams end."""
        for service in SERVICES:
            self._writer.write(_pack(b"XREVRANGE", stream_of(service).encode(), b"+", b"-", b"COUNT", b"1"))
            while not (line := await self._reader.readline()).startswith(b"$"):
                if line.startswith((b"*0", b"-")):
                    raise RuntimeError(f"the feed of {service} is empty")
            identifier = await self._reader.readline()
            self._last[service] = int(identifier.partition(b"-")[0])
            # The item's fields, a name and a value at least, are of no interest.
            fields = int((await self._reader.readline())[1:])
            for _ in range(2 * fields):
                await self._reader.readline()

    async def run(self) -> None:
        swallowing = asyncio.create_task(self._swallow())
        due, beat_at, then = 0.0, 0.0, time.monotonic()
        while not swallowing.done():
            now = time.monotonic()
            due, then = due + (now - then) * self.rate, now
            commands = [self._change() for _ in range(int(due))]
            due -= int(due)
            if now >= beat_at:
                beat_at = now + _BEAT
                commands += self._beats()
            self._writer.write(b"".join(commands))
            await self._writer.drain()
            await asyncio.sleep(_TICK)

    def _change(self) -> bytes:
        self._last[self.service] += 1
        seq = self._last[self.service]
        entity = self._entities[seq % len(self._entities)]
        stream = stream_of(self.service).encode()
        return _pack(b"XADD", stream, b"MAXLEN", b"~", _LENGTH, b"%d-0" % seq, entity, b"%d" % seq)

    def _beats(self) -> list[bytes]:
        t = b"%d" % int(time.time() * 1000)
        return [
            _pack(b"XADD", stream_of(service).encode(), b"%d-%b" % (seq, t), b"t", t)
            for service, seq in self._last.items()
        ]

    async def _swallow(self) -> None:
        while await self._reader.read(1 << 16):
            pass


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    feeding = Feeding(*await asyncio.open_connection("127.0.0.1", port))
    await feeding.begin()
    running = asyncio.create_task(feeding.run())
    sys.stdout.write("feeding\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        rate, feeding.service = line.split()
        feeding.rate = float(rate)
    running.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

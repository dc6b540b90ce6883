"""An owner without an outbox: data that lives in this process, whose changes it numbers and announces itself.

Services with a database announce through their outbox and a relay; this is for everything else that is worth caching.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from .feed import WINDOW_SECONDS, Appender, Beat, Change, stream_of
from .knowledge import INCARNATION
from .redis import cancelled, parse, patient_client


class Announcer:
    """The only one for its service at a time. Every start is a new incarnation, because memory begins anew.

    Heartbeats follow every `beat_seconds`; readers count the feed as young for 2 s.
    """

    def __init__(self, url: str, service: str, *, beat_seconds: float = 0.25) -> None:
        self.service = service
        self._address = parse(url)
        self._appender = Appender(self._address, self._kept)
        self._beat_seconds = beat_seconds
        self._versions: dict[str, int] = {}
        self._changes: deque[tuple[float, Change]] = deque()
        self._pending: list[Change] = []
        self._news = asyncio.Event()
        self._incarnation = self._seq = 0
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Announcer":
        client = patient_client(self._address, read_timeout=5.0, name="cloudphone-announcer")
        try:
            # Kept for ever, and above the stream's: a number must not mean two things, whichever of both is lost.
            last: list[Any] = await client.xrevrange(stream_of(self.service), count=1)
            heard = int(last[0][0].partition(b"-")[0]) // INCARNATION if last else 0
            key = f"{stream_of(self.service)}:incarnation"
            self._incarnation = int(await client.incr(key))
            if heard >= self._incarnation:
                self._incarnation = int(await client.incrby(key, heard + 1 - self._incarnation))
        finally:
            await client.aclose()
        self._seq = self._incarnation * INCARNATION
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._appender.close()

    def announce(self, *entities: str) -> dict[str, int]:
        """Their new versions. To be called in the step that changes the data, with no `await` in between."""
        self._seq += 1
        # One number for all: a change's own counter never falls behind that of any entity.
        made = dict.fromkeys(entities, self._seq)
        self._versions |= made
        change = Change(self._seq, made)
        self._pending.append(change)
        self._changes.append((time.monotonic(), change))
        self._news.set()
        return made

    def versions(self, *entities: str) -> dict[str, int]:
        """0 of what never changed. To be called with or before reading the data, not after."""
        return {entity: self._versions.get(entity, 0) for entity in entities}

    async def _write(self) -> None:
        while not cancelled():
            self._news.clear()
            items = [*self._pending, Beat(self._seq, round(time.time() * 1000))]
            self._pending.clear()
            await self._appender.append(self.service, items)
            self._forget()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._beat_seconds):
                    await self._news.wait()

    def _forget(self) -> None:
        before = time.monotonic() - WINDOW_SECONDS
        while self._changes and self._changes[0][0] < before:
            self._changes.popleft()

    async def _kept(self, service: str, *, after: int | None = None, since_ms: int | None = None) -> Sequence[Change]:
        return [change for _, change in self._changes if after is None or change.seq > after]

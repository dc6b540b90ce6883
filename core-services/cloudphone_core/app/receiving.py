"""The bytes of one request of an upload: kept in parts as they come, and counted only when they are kept."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog

from cloudphone_shared.contracts.upload import StorageFull, WrongChecksum
from cloudphone_shared.database import Database
from cloudphone_shared.errors import BodyTooLarge, Unavailable

from . import uploads
from .storage import Storage
from .uploads import PART_BYTES, Rules, Turn

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Interrupted(Exception):
    """The sender is gone."""


async def receive(
    turn: Turn,
    body: AsyncIterator[bytes],
    *,
    database: Database,
    storage: Storage,
    rules: Rules,
    now: Callable[[], datetime],
    sha256: bytes | None = None,
) -> None:
    """With `sha256` the body counts as a whole or not at all; without, each part by itself, also
    of a body that ends too soon. Raises WrongChecksum, BodyTooLarge, StorageFull, UploadBusy; gives the turn back."""
    receiver = _Receiver(turn, database, storage, rules, now, whole=sha256 is not None)
    try:
        try:
            await receiver.take(body)
        except (Interrupted, asyncio.CancelledError, BodyTooLarge):
            await asyncio.shield(receiver.keep_rest())
            raise
        if sha256 is not None and receiver.sha256.digest() != sha256:
            raise WrongChecksum
        await receiver.keep_rest(final=True)
    finally:
        await asyncio.shield(receiver.end())


class _Receiver:
    def __init__(
        self,
        turn: Turn,
        database: Database,
        storage: Storage,
        rules: Rules,
        now: Callable[[], datetime],
        *,
        whole: bool,
    ) -> None:
        self.sha256 = hashlib.sha256()
        self.kept = turn.offset
        self._turn, self._database, self._storage, self._rules, self._now = turn, database, storage, rules, now
        self._whole = whole
        self._buffer = bytearray()
        self._written: list[tuple[int, int]] = []
        self._renewed = time.monotonic()

    @property
    def _at(self) -> int:
        return self._written[-1][0] + self._written[-1][1] if self._written else self.kept

    async def take(self, body: AsyncIterator[bytes]) -> None:
        async for chunk in body:
            room = self._turn.length - self._at - len(self._buffer)
            if len(chunk) > room:
                raise BodyTooLarge(f"The upload has {self._turn.length} bytes, and more than that were sent")
            if self._whole:
                self.sha256.update(chunk)
            self._buffer += chunk
            if len(self._buffer) >= PART_BYTES:
                await self._write()
            elif time.monotonic() - self._renewed > self._rules.turn_seconds / 3:
                await self._renew()

    async def keep_rest(self, *, final: bool = False) -> None:
        """Of a body that counts only as a whole, nothing unless it is `final`."""
        if self._whole and not final:
            return
        if self._buffer:
            await self._write()
        if self._written:
            await self._count()

    async def end(self) -> None:
        try:
            async with self._database.writing() as session:
                await uploads.end_turn(session, self._turn.upload_id, self._turn.token)
        except Unavailable as error:
            log.warning("upload_turn_left_to_end_by_itself", upload=str(self._turn.upload_id), reason=str(error))

    async def _write(self) -> None:
        at, size = self._at, len(self._buffer)
        try:
            await self._storage.put(uploads.part_key(self._turn.upload_id, at), bytes(self._buffer))
        except StorageFull:
            self._buffer.clear()
            raise
        self._buffer.clear()
        self._written.append((at, size))
        if self._whole:
            await self._renew()
        else:
            await self._count()

    async def _count(self) -> None:
        parts, self._written = self._written, []
        async with self._database.writing() as session:
            await uploads.keep(session, self._turn, parts, self._rules.turn_seconds, self._now())
        self.kept = parts[-1][0] + parts[-1][1]
        self._renewed = time.monotonic()

    async def _renew(self) -> None:
        async with self._database.writing() as session:
            await uploads.renew_turn(
                session, self._turn.upload_id, self._turn.token, self._rules.turn_seconds, self._now()
            )
        self._renewed = time.monotonic()

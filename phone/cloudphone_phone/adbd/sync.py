"""The service `sync:`: files to the phone and from it, and what is there.

Source: Android's packages/modules/adb/SYNC.TXT and file_sync_protocol.h.
"""

import errno
import stat
import struct

from cloudphone_phone.android.files import Files, Stat

from .stream import Stream, StreamClosed

_REQUEST = struct.Struct("<4sI")
_STAT = struct.Struct("<III")
_STAT_2 = struct.Struct("<IQQIIIIQqqq")
_ENTRY = struct.Struct("<IIII")
_ENTRY_2 = struct.Struct("<IQQIIIIQqqqI")
LARGEST_PART = 64 << 10
LONGEST_PATH = 1024
_SHELL = 2000


class Failed(Exception):
    """Told to the other side in its own words; the service goes on, unless what it sends cannot be skipped."""


class Sync:
    def __init__(self, stream: Stream, files: Files) -> None:
        self._stream, self._files = stream, files

    async def serve(self) -> None:
        """Request after request, until QUIT or the end."""
        while True:
            kind, length = await self._request()
            if kind == b"QUIT":
                return
            if length > LONGEST_PATH:
                await self._fail("path too long")
                return
            path = (await self._stream.read_exactly(length)).decode("utf-8", "surrogateescape")
            try:
                if not await self._answer(kind, path):
                    return
            except Failed as failure:
                await self._fail(str(failure))
            except OSError as error:
                if isinstance(error, ConnectionError):
                    raise
                await self._fail(error.strerror or "failed")

    async def _answer(self, kind: bytes, path: str) -> bool:
        """Whether there was an answer to give. Raises OSError and Failed."""
        match kind:
            case b"STAT":
                await self._stream.write(kind + _stat(self._look(path)))
            case b"STA2" | b"LST2":
                await self._stream.write(kind + _stat_2(self._look(path)))
            case b"LIST":
                await self._list(path, second=False)
            case b"LIS2":
                await self._list(path, second=True)
            case b"SEND":
                await self._receive(path)
            case b"RECV":
                await self._send(path)
            case _:
                await self._fail("unknown request")
                return False
        return True

    async def _request(self) -> tuple[bytes, int]:
        return _REQUEST.unpack(await self._stream.read_exactly(_REQUEST.size))

    def _look(self, path: str) -> Stat | None:
        try:
            return self._files.stat(path)
        except OSError:
            return None

    async def _list(self, path: str, *, second: bool) -> None:
        """A folder that cannot be looked into is told as an empty one."""
        for name in self._files.names(path) or ():
            found = self._look(f"{path}/{name}")
            if found is not None:
                raw = name.encode("utf-8", "surrogateescape")
                entry = _entry_2(found, raw) if second else _entry(found, raw)
                await self._stream.write(entry)
        await self._stream.write(b"DONE" + bytes(_ENTRY_2.size if second else _ENTRY.size))

    async def _receive(self, request: str) -> None:
        """`path,mode`, then parts, then the time. What comes is read to its end even if it cannot be kept."""
        path, _, mode = request.rpartition(",")
        if not path or not mode.isascii() or not mode.isdecimal() or len(mode) > 10:
            await self._skip()
            raise Failed("missing mode")
        if stat.S_ISLNK(int(mode)):
            await self._skip()
            raise Failed("links are not taken")
        try:
            await self._keep(path, int(mode))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await self._skip()
            raise
        await self._stream.write(b"OKAY" + bytes(4))

    async def _keep(self, path: str, mode: int) -> None:
        parent = path.rpartition("/")[0]
        self._files.make_folder(parent, parents=True)
        with self._files.stage() as staged:
            while True:
                kind, length = await self._part()
                if kind == b"DONE":
                    break
                staged.write(await self._stream.read_exactly(length))
            try:
                staged.move_to(path, mode, modified=length)
            except OSError:
                # All has been read: nothing is left to be skipped.
                await self._fail(f"couldn't create file: {path}")
                raise StreamClosed from None

    async def _skip(self) -> None:
        while True:
            kind, length = await self._part()
            if kind == b"DONE":
                return
            await self._stream.read_exactly(length)

    async def _part(self) -> tuple[bytes, int]:
        kind, length = await self._request()
        if kind not in (b"DATA", b"DONE") or (kind == b"DATA" and length > LARGEST_PART):
            await self._fail("bad part")
            raise StreamClosed
        return kind, length

    async def _send(self, path: str) -> None:
        source = self._files.source(path)
        while part := await source.read(LARGEST_PART):
            await self._stream.write(b"DATA" + struct.pack("<I", len(part)) + part)
        await self._stream.write(b"DONE" + bytes(4))

    async def _fail(self, why: str) -> None:
        words = why.encode("utf-8", "replace")[:1024]
        await self._stream.write(b"FAIL" + struct.pack("<I", len(words)) + words)


def _stat(found: Stat | None) -> bytes:
    """Zeros say that there is none."""
    return _STAT.pack(found.mode, min(found.size, 0xFFFFFFFF), found.modified) if found else bytes(_STAT.size)


def _stat_2(found: Stat | None) -> bytes:
    if found is None:
        return _STAT_2.pack(errno.ENOENT, *[0] * 10)
    times = [found.modified] * 3
    return _STAT_2.pack(0, 1, 1, found.mode, 1, _SHELL, _SHELL, found.size, *times)


def _entry(found: Stat, name: bytes) -> bytes:
    return b"DENT" + _ENTRY.pack(found.mode, min(found.size, 0xFFFFFFFF), found.modified, len(name)) + name


def _entry_2(found: Stat, name: bytes) -> bytes:
    return b"DNT2" + _stat_2(found) + struct.pack("<I", len(name)) + name

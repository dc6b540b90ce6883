"""Files to a phone and from it (the service `sync:`).

Source: Android's packages/modules/adb/SYNC.TXT.
"""

import stat
import struct
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec

from .channel import Channel
from .errors import PhoneAway, PhoneRefused

PART = 64 << 10
MOST_ENTRIES = 10_000
_HEADER = struct.Struct("<4sI")
_STAT = struct.Struct("<4sIII")
_ENTRY = struct.Struct("<4sIIII")
_LONGEST_NAME = 4096


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`mode` as stat(2) has it, 0: there is none. `size` in bytes, of a file beyond 4 GiB what is left of it."""

    name: str
    mode: int
    size: int
    modified_at: datetime

    @property
    def there(self) -> bool:
        return self.mode != 0

    @property
    def folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def file(self) -> bool:
        return stat.S_ISREG(self.mode)


async def look(channel: Channel, paths: Sequence[str]) -> list[Entry]:
    """Each as it is itself: a link is told as a link."""
    await channel.write(b"".join(_request(b"STAT", path) for path in paths))
    entries: list[Entry] = []
    for path in paths:
        kind, mode, size, modified = _STAT.unpack(await channel.exactly(_STAT.size))
        _expect(channel, kind, b"STAT")
        entries.append(_entry(path, mode, size, modified))
    return entries


async def names(channel: Channel, folder: str) -> list[Entry]:
    """What is in it, by name; at most MOST_ENTRIES."""
    await channel.write(_request(b"LIST", folder))
    entries: list[Entry] = []
    while True:
        kind, mode, size, modified, length = _ENTRY.unpack(await channel.exactly(_ENTRY.size))
        if kind == b"DONE":
            return sorted(entries, key=lambda entry: entry.name)
        _expect(channel, kind, b"DENT")
        if length > _LONGEST_NAME:
            raise PhoneAway(channel.address, f"it announced a name of {length} bytes")
        name = (await channel.exactly(length)).decode("utf-8", "replace")
        if name in (".", ".."):
            continue
        entries.append(_entry(name, mode, size, modified))
        if len(entries) >= MOST_ENTRIES:
            return sorted(entries, key=lambda entry: entry.name)


async def pull(channel: Channel, path: str) -> AsyncIterator[bytes]:
    """Raises PhoneRefused when it cannot be read."""
    await channel.write(_request(b"RECV", path))
    while True:
        kind, length = _HEADER.unpack(await channel.exactly(_HEADER.size))
        if kind == b"DONE":
            return
        if kind == b"FAIL":
            raise await _refusal(channel, length)
        _expect(channel, kind, b"DATA")
        if length > 4 * PART:
            raise PhoneAway(channel.address, f"it announced a part of {length} bytes")
        yield await channel.exactly(length)


async def begin_push(channel: Channel, path: str, mode: int) -> None:
    await channel.write(_request(b"SEND", f"{path},{mode | stat.S_IFREG}"))


async def push_part(channel: Channel, part: bytes) -> None:
    for at in range(0, len(part), PART):
        piece = part[at : at + PART]
        await channel.write(_HEADER.pack(b"DATA", len(piece)) + piece)


async def end_push(channel: Channel) -> None:
    """Raises PhoneRefused when it could not be written."""
    await channel.write(_HEADER.pack(b"DONE", int(time.time())))
    kind, length = _HEADER.unpack(await channel.exactly(_HEADER.size))
    if kind == b"FAIL":
        raise await _refusal(channel, length)
    _expect(channel, kind, b"OKAY")


def _request(kind: bytes, path: str) -> bytes:
    raw = path.encode()
    return _HEADER.pack(kind, len(raw)) + raw


async def _refusal(channel: Channel, length: int) -> PhoneRefused:
    why = (await channel.exactly(min(length, _LONGEST_NAME))).decode("utf-8", "replace")
    code = "no_space" if "space" in why.lower() else "file_refused"
    return PhoneRefused(code, f"The phone says of the file: {why}")


def _expect(channel: Channel, kind: bytes, wanted: bytes) -> None:
    if kind != wanted:
        raise PhoneAway(channel.address, f"instead of {wanted.decode()} it said {kind!r}")


def _entry(name: str, mode: int, size: int, modified: int) -> Entry:
    return Entry(name=name, mode=mode, size=size, modified_at=datetime.fromtimestamp(modified, UTC))

"""What Android's binary resource files are made of: nested chunks, each with its type and size, and string pools."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .refusal import ApkRefused

STRING_POOL = 0x0001
_HEADER = struct.Struct("<HHI")
_POOL = struct.Struct("<IIIII")
_UTF8 = 1 << 8
_MOST_DECODED = 16 << 20


class Malformed(ApkRefused):
    def __init__(self, detail: str = "A binary resource file is malformed") -> None:
        super().__init__(detail, failure="INSTALL_PARSE_FAILED_BAD_MANIFEST")


class Chunk(NamedTuple):
    """Offsets in bytes: its header at `start`, what it holds from `body` to `end`."""

    type: int
    start: int
    body: int
    end: int


def chunk_at(data: bytes, start: int, end: int) -> Chunk:
    """Raises Malformed when no chunk that begins at `start` lies within `end`."""
    if start + _HEADER.size > end:
        raise Malformed
    kind, header_size, size = _HEADER.unpack_from(data, start)
    if header_size < _HEADER.size or size < header_size or start + size > end:
        raise Malformed
    return Chunk(kind, start, start + header_size, start + size)


def chunks(data: bytes, start: int, end: int) -> Iterator[Chunk]:
    """One after the other. Each is 8 bytes at least, so this ends. Raises Malformed."""
    while start < end:
        chunk = chunk_at(data, start, end)
        yield chunk
        start = chunk.end


def unpack(layout: struct.Struct, data: bytes, at: int, end: int) -> tuple[int, ...]:
    """Raises Malformed when it does not lie within `end`."""
    if at < 0 or at + layout.size > end:
        raise Malformed
    return layout.unpack_from(data, at)


class StringPool:
    """Strings are decoded when asked for, once each; all together at most 16 MiB."""

    def __init__(self, data: bytes, chunk: Chunk) -> None:
        """Raises Malformed."""
        if chunk.type != STRING_POOL:
            raise Malformed
        count, _, flags, strings, _ = unpack(_POOL, data, chunk.start + _HEADER.size, chunk.end)
        if chunk.body + 4 * count > chunk.end:
            raise Malformed
        self._data, self._end = data, chunk.end
        self._offsets, self._count, self._strings = chunk.body, count, chunk.start + strings
        self._utf8 = bool(flags & _UTF8)
        self._decoded: dict[int, str] = {}
        self._budget = _MOST_DECODED

    def __getitem__(self, index: int) -> str:
        """Raises Malformed for a string that is not there."""
        found = self._decoded.get(index)
        if found is None:
            found = self._decoded[index] = self._decode(index)
        return found

    def _decode(self, index: int) -> str:
        if not 0 <= index < self._count:
            raise Malformed
        (offset,) = struct.unpack_from("<I", self._data, self._offsets + 4 * index)
        at = self._strings + offset
        if self._utf8:
            _, at = self._length(at, 1)
            length, at = self._length(at, 1)
        else:
            length, at = self._length(at, 2)
            length *= 2
        self._budget -= length + 16
        if at + length > self._end or self._budget < 0:
            raise Malformed
        return self._data[at : at + length].decode("utf-8" if self._utf8 else "utf-16-le", "replace")

    def _length(self, at: int, width: int) -> tuple[int, int]:
        """Of `width` bytes, or twice that when its highest bit is set; and where it ends."""
        high = 1 << (8 * width - 1)
        first = self._number(at, width)
        if not first & high:
            return first, at + width
        return (first & ~high) << (8 * width) | self._number(at + width, width), at + 2 * width

    def _number(self, at: int, width: int) -> int:
        if at < 0 or at + width > self._end:
            raise Malformed
        return int.from_bytes(self._data[at : at + width], "little")

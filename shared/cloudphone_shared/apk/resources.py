"""The compiled resource table: what a reference stands for in each configuration. Only what is asked for is read."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .binary_xml import Reference
from .chunks import STRING_POOL, Chunk, Malformed, StringPool, chunk_at, chunks, unpack

_TABLE, _PACKAGE, _TYPE = 0x0002, 0x0200, 0x0201
_ID = struct.Struct("<I")
_TYPE_HEADER = struct.Struct("<BBHII")
_CONFIGURATION = struct.Struct("<IIHHBBH")
_SPARSE = struct.Struct("<HH")
_SHORT = struct.Struct("<H")
_ENTRY = struct.Struct("<HHI")
_VALUE = struct.Struct("<HBBI")
_IS_SPARSE, _IS_SHORT = 1, 2
_IS_COMPLEX, _IS_COMPACT = 1, 8
_REFERENCE, _STRING = 0x01, 0x03
_ANY_DENSITY = 0xFFFE
_LONGEST_TRAIL = 8
_MOST_VALUES = 500


class Configured(NamedTuple):
    """One string value and what it is for: dots per inch (0: not said), and a language (empty: any)."""

    density: int
    language: str
    text: str


class ResourceTable:
    def __init__(self, data: bytes) -> None:
        """Raises Malformed."""
        self._data = data
        self._table = chunk_at(data, 0, len(data))
        if self._table.type != _TABLE:
            raise Malformed("The resource table is not one")
        self._strings = next(
            (StringPool(data, chunk) for chunk in self._parts(self._table) if chunk.type == STRING_POOL), None
        )

    def texts(self, reference: Reference) -> list[Configured]:
        """The strings it stands for, references followed. Raises Malformed."""
        found: list[Configured] = []
        seen: set[int] = set()
        wanted = [reference.id]
        while wanted and len(seen) < _LONGEST_TRAIL and len(found) < _MOST_VALUES:
            number = wanted.pop()
            if number in seen:
                continue
            seen.add(number)
            for density, language, kind, value in self._values(number):
                if kind == _REFERENCE:
                    wanted.append(value)
                elif kind == _STRING and self._strings is not None:
                    found.append(Configured(density, language, self._strings[value]))
        return found

    def _values(self, number: int) -> Iterator[tuple[int, str, int, int]]:
        package, kind, entry = number >> 24, number >> 16 & 0xFF, number & 0xFFFF
        for chunk in self._parts(self._table):
            if chunk.type == _PACKAGE and unpack(_ID, self._data, chunk.start + 8, chunk.end)[0] == package:
                for part in self._parts(chunk):
                    if part.type == _TYPE:
                        yield from self._of_type(part, kind, entry)

    def _of_type(self, chunk: Chunk, kind: int, entry: int) -> Iterator[tuple[int, str, int, int]]:
        id_, flags, _, count, entries = unpack(_TYPE_HEADER, self._data, chunk.start + 8, chunk.end)
        if id_ != kind:
            return
        offset = self._offset(chunk, flags, count, entry)
        if offset is None:
            return
        value = self._value(chunk.start + entries + offset, chunk.end)
        if value is None:
            return
        _, _, language, _, _, _, density = unpack(_CONFIGURATION, self._data, chunk.start + 20, chunk.end)
        letters = language.to_bytes(2, "little").rstrip(b"\0").decode("latin-1")
        yield (0 if density == _ANY_DENSITY else density), letters, *value

    def _offset(self, chunk: Chunk, flags: int, count: int, entry: int) -> int | None:
        if flags & _IS_SPARSE:
            for at in range(chunk.body, min(chunk.body + 4 * count, chunk.end - 3), 4):
                index, offset = _SPARSE.unpack_from(self._data, at)
                if index == entry:
                    return 4 * offset
            return None
        if entry >= count:
            return None
        if flags & _IS_SHORT:
            (short,) = unpack(_SHORT, self._data, chunk.body + 2 * entry, chunk.end)
            return None if short == 0xFFFF else 4 * short
        (offset,) = unpack(_ID, self._data, chunk.body + 4 * entry, chunk.end)
        return None if offset == 0xFFFFFFFF else offset

    def _value(self, at: int, end: int) -> tuple[int, int] | None:
        """Its kind and data; None for one that is made of several."""
        size, flags, data = unpack(_ENTRY, self._data, at, end)
        if flags & _IS_COMPACT:
            return flags >> 8, data
        if flags & _IS_COMPLEX:
            return None
        _, _, kind, value = unpack(_VALUE, self._data, at + size, end)
        return kind, value

    def _parts(self, chunk: Chunk) -> Iterator[Chunk]:
        return chunks(self._data, chunk.body, chunk.end)

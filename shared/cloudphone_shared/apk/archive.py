"""The ZIP archive that an APK is, read from its directory, within limits that no file can make us exceed."""

import struct
import zlib
from typing import BinaryIO, NamedTuple

from .refusal import ApkRefused, not_an_apk

MOST_FILES = 65_534
LARGEST_DIRECTORY = 8 << 20
_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_LONGEST_COMMENT = 0xFFFF
_STORED, _DEFLATED, _ENCRYPTED = 0, 8, 1


class Entry(NamedTuple):
    """`offset` of its local header; sizes in bytes."""

    method: int
    crc: int
    packed: int
    size: int
    offset: int


class Archive:
    """`directory_at` and `end_at`: where the central directory and the record after it begin, in bytes."""

    def __init__(self, file: BinaryIO) -> None:
        """`file` is seekable, and stays the caller's. Raises ApkRefused."""
        self._file = file
        self.size = file.seek(0, 2)
        self.end_at, self.end = self._end()
        _, disk, first_disk, here, total, length, self.directory_at, _ = _END.unpack_from(self.end)
        if disk or first_disk or here != total or total > MOST_FILES:
            raise not_an_apk("The archive is split, or larger than the format allows")
        if self.directory_at + length != self.end_at:
            raise not_an_apk("The archive is truncated, or something was added to it")
        if length > LARGEST_DIRECTORY:
            raise not_an_apk(f"The archive's directory takes more than {LARGEST_DIRECTORY >> 20} MiB")
        self.entries = _entries(self.at(self.directory_at, length), total)

    def at(self, offset: int, length: int) -> bytes:
        """Raises ApkRefused when the file ends before."""
        if offset + length > self.size:
            raise not_an_apk("The archive is truncated")
        self._file.seek(offset)
        found = self._file.read(length)
        if len(found) != length:
            raise not_an_apk("The archive is truncated")
        return found

    def read(self, name: str, *, at_most: int) -> bytes | None:
        """What the file `name` holds, None when there is none. Raises ApkRefused when it is larger, or damaged."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.size > at_most or entry.packed > at_most + 1024:
            raise ApkRefused(f"{name} takes {entry.size} bytes; at most {at_most} are read")
        content = self._unpacked(name, entry)
        if len(content) != entry.size or zlib.crc32(content) != entry.crc:
            raise ApkRefused(f"{name} is damaged: its size or checksum is not the one the directory says")
        return content

    def _unpacked(self, name: str, entry: Entry) -> bytes:
        signature, _, flags, *_, name_length, extra_length = _LOCAL.unpack(self.at(entry.offset, _LOCAL.size))
        if signature != b"PK\3\4" or flags & _ENCRYPTED:
            raise ApkRefused(f"{name} is encrypted, or not where the directory says")
        packed = self.at(entry.offset + _LOCAL.size + name_length + extra_length, entry.packed)
        if entry.method == _STORED:
            return packed
        if entry.method != _DEFLATED:
            raise ApkRefused(f"{name} is compressed by a method that Android does not know")
        try:
            # One byte more than was said, so that more is noticed and never made.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1)
        except zlib.error:
            raise ApkRefused(f"{name} is damaged: it cannot be decompressed") from None

    def _end(self) -> tuple[int, bytes]:
        if self.size < _END.size or self.at(0, 4) != b"PK\3\4":
            raise not_an_apk("The file is not a ZIP archive, and so not an APK")
        tail_at = max(0, self.size - _END.size - _LONGEST_COMMENT)
        tail = self.at(tail_at, self.size - tail_at)
        found = tail.rfind(b"PK\5\6")
        while found >= 0:
            if found + _END.size <= len(tail):
                (comment,) = struct.unpack_from("<H", tail, found + _END.size - 2)
                if found + _END.size + comment == len(tail):
                    return tail_at + found, tail[found:]
            found = tail.rfind(b"PK\5\6", 0, found)
        raise not_an_apk("The archive is truncated: its directory is missing")


def _entries(directory: bytes, total: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    for _ in range(total):
        if at + _ENTRY.size > len(directory):
            raise not_an_apk("The archive's directory ends too early")
        fields = _ENTRY.unpack_from(directory, at)
        signature, flags, method, crc, packed, size = fields[0], fields[3], fields[4], *fields[7:10]
        name_length, extra_length, comment_length, offset = fields[10], fields[11], fields[12], fields[16]
        raw = directory[at + _ENTRY.size : at + _ENTRY.size + name_length]
        at += _ENTRY.size + name_length + extra_length + comment_length
        if signature != b"PK\1\2" or at > len(directory):
            raise not_an_apk("The archive's directory is damaged")
        name = raw.decode("utf-8", "replace")
        if name in entries:
            raise ApkRefused(f"{name[:200]!r} is in the archive twice")
        if flags & _ENCRYPTED:
            raise ApkRefused(f"{name[:200]!r} is encrypted")
        entries[name] = Entry(method, crc, packed, size, offset)
    return entries

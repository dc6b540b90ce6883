"""The wire protocol's messages: 24 bytes that say what follows, and the payload.

Source: Android's packages/modules/adb/protocol.txt.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct("<6I")
VERSION_WITH_CHECKSUMS = 0x01000000
VERSION = 0x01000001
"""From this one on, of both sides, nobody looks at checksums."""
FIRST_PAYLOAD = 4096
"""Bytes at most, until a connection is made; both sides have always been able to take these."""
LARGEST_PAYLOAD = 256 << 10
FEATURES = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir")


class Command(IntEnum):
    """Four letters each, read as a little-endian number."""

    CNXN = int.from_bytes(b"CNXN", "little")
    AUTH = int.from_bytes(b"AUTH", "little")
    OPEN = int.from_bytes(b"OPEN", "little")
    OKAY = int.from_bytes(b"OKAY", "little")
    WRTE = int.from_bytes(b"WRTE", "little")
    CLSE = int.from_bytes(b"CLSE", "little")


class ProtocolError(Exception):
    """What came is not the protocol, or breaks its rules: the connection ends."""


class Header(NamedTuple):
    command: int
    first: int
    second: int
    length: int
    checksum: int


def read_header(data: bytes, largest: int) -> Header:
    """Raises ProtocolError, also when more than `largest` bytes would follow."""
    command, first, second, length, sum_, magic = HEADER.unpack(data)
    if magic != command ^ 0xFFFFFFFF:
        raise ProtocolError("not a header")
    if length > largest:
        raise ProtocolError(f"{length} bytes of payload")
    return Header(command, first, second, length, sum_)


def message(command: Command, first: int, second: int, payload: bytes = b"", *, summed: bool = False) -> bytes:
    sum_ = checksum(payload) if summed else 0
    return HEADER.pack(command, first, second, len(payload), sum_, command ^ 0xFFFFFFFF) + payload


def checksum(payload: bytes) -> int:
    return sum(payload) & 0xFFFFFFFF


def banner(product: str, model: str, device: str) -> bytes:
    """How a phone introduces itself."""
    about = {"ro.product.name": product, "ro.product.model": model, "ro.product.device": device}
    facts = "".join(f"{name}={value};" for name, value in about.items())
    return f"device::{facts}features={','.join(FEATURES)}".encode()

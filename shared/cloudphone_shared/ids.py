"""Ids: UUIDv7 (RFC 9562), so that rows made one after another lie side by side."""

import secrets
import time
from uuid import UUID


def new_id() -> UUID:
    """48 bits of milliseconds since 1970, then randomness; no order within a millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1)

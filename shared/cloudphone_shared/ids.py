"""Identifiers: UUIDv7 (RFC 9562), so that ids made later sort later and index pages fill in order."""

import random
import threading
import time
from uuid import UUID

_random = random.SystemRandom()
_lock = threading.Lock()
_last = 0

_RANDOM_BITS = 74
_VERSION = 7 << 76
_VARIANT = 2 << 62


def uuid7() -> UUID:
    """Strictly increasing within a process, also when the clock stands still or is set back."""
    global _last
    with _lock:
        fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | _random.getrandbits(_RANDOM_BITS)
        _last = max(fresh, _last + 1 + _random.getrandbits(32))
        number = _last
    low = number & ((1 << 62) - 1)
    middle = (number >> 62) & 0xFFF
    return UUID(int=(number >> _RANDOM_BITS << 80) | _VERSION | (middle << 64) | _VARIANT | low)

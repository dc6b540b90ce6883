"""Why reads of late were misses: a short memory, written when a view has to be composed, never by a hit."""

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

Why = Literal["no-entry", "not-proven", "expired", "other-shape", "redis-away", "collapsed", "audience"]
REMEMBERED = 256
REASONS: dict[Why, str] = {
    "no-entry": "there is no entry",
    "other-shape": "the entry has the shape of another release",
    "redis-away": "Redis gave no answer, and this process holds no entry",
    "collapsed": "it was being composed for another request of this process",
    "audience": "its tenant or owner is not the caller's, or who may see it is not known now",
}
"""Where there is no verdict on an entry."""


class Miss(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One read that no entry answered, `at_ms` since 1970. `reason` is the verdict in words; `request_id` as the
    process was told, empty if it was not. `audience`: there was an entry, but not for this caller."""

    at_ms: int
    view: str
    key: str
    why: Why
    reason: str
    request_id: str = ""


class Misses:
    """The latest 256. `request_id` says which request is being answered."""

    def __init__(self, request_id: Callable[[], str]) -> None:
        self._request_id = request_id
        self._latest: deque[Miss] = deque(maxlen=REMEMBERED)

    def note(self, view: str, key: str, why: Why, reason: str, now_ms: int) -> None:
        self._latest.append(
            Miss(at_ms=now_ms, view=view, key=key, why=why, reason=reason, request_id=self._request_id())
        )

    def latest(
        self, count: int, *, view: str | None = None, key: str | None = None, request_id: str | None = None
    ) -> list[Miss]:
        """The newest first, of this view, key and request where they are given."""
        found = [
            miss
            for miss in reversed(self._latest)
            if (view is None or miss.view == view)
            and (key is None or miss.key == key)
            and (request_id is None or miss.request_id == request_id)
        ]
        return found[:count]

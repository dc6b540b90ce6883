"""What belongs to the request in progress: its id and its deadline, for whatever it calls."""

import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` by which the answer must be out; None outside a request."""

DEADLINE_HEADER = "X-Request-Deadline-Ms"
"""Milliseconds that remain for the callee, counted from when it hears of it."""
REQUEST_ID_HEADER = "X-Request-Id"


def remaining_seconds() -> float | None:
    at = deadline.get()
    return None if at is None else at - time.monotonic()

"""What belongs to the request in progress: its id and its deadline, for whatever it calls."""

import re
import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` by which the answer must be out; None outside a request."""

DEADLINE_HEADER = "X-Request-Deadline-Ms"
"""Milliseconds that remain for the callee, counted from when it hears of it."""
REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}").fullmatch


def well_formed(sent: bytes) -> bool:
    """Whether a request's own id may stand in logs and answers."""
    return _REQUEST_ID(sent) is not None


def remaining_seconds() -> float | None:
    at = deadline.get()
    return None if at is None else at - time.monotonic()

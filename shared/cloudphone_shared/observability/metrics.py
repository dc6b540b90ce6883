"""Prometheus metrics that every process has; a process's own stand beside what they measure."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Histogram, generate_latest

REQUESTS = Counter("cloudphone_http_requests_total", "Requests answered", ["app", "method", "route", "status"])
SECONDS = Histogram(
    "cloudphone_http_request_seconds",
    "Time to answer a request, hits answered in front of the app apart",
    ["app", "route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
CONTENT_TYPE = "text/plain; version=0.0.4"


_settling: list[Callable[[], None]] = []


@contextmanager
def settled_by(settle: Callable[[], None]) -> Generator[None]:
    """Has what is counted elsewhere added before the metrics are read, for as long as the block lasts."""
    _settling.append(settle)
    try:
        yield
    finally:
        settle()
        _settling.remove(settle)


def exposition() -> bytes:
    for settle in _settling:
        settle()
    return generate_latest(REGISTRY)

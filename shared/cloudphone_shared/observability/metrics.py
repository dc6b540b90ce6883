"""Prometheus metrics that every process has; a process's own stand beside what they measure."""

from prometheus_client import REGISTRY, Counter, Histogram, generate_latest

REQUESTS = Counter("cloudphone_http_requests_total", "Requests answered", ["app", "method", "route", "status"])
SECONDS = Histogram(
    "cloudphone_http_request_seconds",
    "Time to answer a request",
    ["app", "route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
CONTENT_TYPE = "text/plain; version=0.0.4"


def exposition() -> bytes:
    return generate_latest(REGISTRY)

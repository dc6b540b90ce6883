"""What a journey through the portal leaves behind: one trace through everything it touched, and no secret in a log."""

import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloudphone_core.device.subscribers import USER_UPDATED, subscribe
from cloudphone_shared.bus import connect
from cloudphone_shared.observability.tracing import configure_tracing, shutdown_tracing
from tests.browser import Console
from tests.conditions import eventually
from tests.in_process import KEYS, PASSWORD, Services
from tests.servers import Nats

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    configure_tracing("test", sample_ratio=1.0, processor=SimpleSpanProcessor(exporter))
    yield exporter
    shutdown_tracing()


async def test_a_trace_runs_from_the_portal_through_the_service_and_the_bus_to_who_listens(
    portal: Console, services: Services, nats: Nats, spans: InMemorySpanExporter
) -> None:
    ana = await services.user("Ana")
    by = await services.signed_in(ana["email"])
    bus = connect(nats.url, name="telemetry.events")
    subscribe(bus, services.databases["device"], services.clients("device"))
    await bus.start()
    services.bus.also = bus
    try:
        sent = f"00-{TRACE}-b7ad6b7169203331-01"
        renamed = await portal.ask("PATCH", "/my/profile", {"name": "Anna"}, by=by, traceparent=sent)
        assert renamed.status_code == 200, renamed.text

        def heard() -> list[ReadableSpan]:
            return [span for span in _of_trace(spans) if span.name == f"{USER_UPDATED} user.updated"]

        (listener, *_) = await eventually(heard)
        path = _up_from(listener, _of_trace(spans))
    finally:
        services.bus.also = None
        await bus.stop()
    assert [(span.name, (span.attributes or {}).get("app")) for span in path] == [
        (f"{USER_UPDATED} user.updated", None),
        ("http.server", "user"),
        ("http.client", None),
        ("http.server", "bff-user"),
    ]


def _of_trace(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.context and span.context.trace_id == int(TRACE, 16)]


def _up_from(span: ReadableSpan, spans: list[ReadableSpan]) -> list[ReadableSpan]:
    by_id = {each.context.span_id: each for each in spans if each.context}
    above = by_id.get(span.parent.span_id) if span.parent else None
    return [span, *(_up_from(above, spans) if above else [])]


async def test_no_secret_is_in_any_line_that_a_session_logs(
    portal: Console, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ana = await services.user("Ana")
    wrong = "not her password at all"
    with structlog.testing.capture_logs() as logged:
        assert (await _login(portal, ana["email"], wrong)).status_code == 401
        opened = (await _login(portal, ana["email"], PASSWORD)).json()
        renewed = await portal.ask("POST", "/auth/refresh", {"refreshToken": opened["refreshToken"]}, by={})
        fresh = renewed.json()
        by = {"Authorization": f"Bearer {fresh['accessToken']}"}
        await portal.seen("/my/home", by=by)
        assert (await portal.ask("POST", "/auth/logout", by=by)).status_code == 204
        assert (await portal.ask("POST", "/auth/refresh", {"refreshToken": fresh["refreshToken"]}, by={})).is_error
        structlog.get_logger().info("journey_ended")
    secrets = [PASSWORD, wrong]
    secrets += [client.partition("=")[2] for client in KEYS["CLOUDPHONE_SERVICE_CLIENTS"].split(";")]
    secrets += [tokens[name] for tokens in (opened, fresh) for name in ("accessToken", "refreshToken")]
    secrets += [KEYS["CLOUDPHONE_FRESHNESS_KEY"], KEYS["CLOUDPHONE_CURSOR_KEY"]]
    lines = [*map(repr, logged), *caplog.messages]
    assert "journey_ended" in lines[len(logged) - 1]
    assert not [line for line in lines if any(secret in line for secret in secrets)]


async def _login(portal: Console, email: str, password: str) -> httpx.Response:
    return await portal.ask("POST", "/auth/login", {"email": email, "password": password}, by={})

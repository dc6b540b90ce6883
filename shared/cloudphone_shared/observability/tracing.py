"""OpenTelemetry through HTTP and bus, sampled; costs one comparison where nothing is sampled."""

from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

_enabled = False
_provider: TracerProvider | None = None


def configure_tracing(
    name: str, *, otlp_url: str | None = None, sample_ratio: float = 0.0, processor: SpanProcessor | None = None
) -> None:
    """Traces are made only where they have somewhere to go: an OTLP/HTTP collector, or `processor`."""
    global _enabled, _provider
    if otlp_url is None and processor is None:
        return
    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_url))
    _provider = TracerProvider(
        resource=Resource({"service.name": name}), sampler=ParentBased(TraceIdRatioBased(sample_ratio))
    )
    _provider.add_span_processor(processor)
    _enabled = True


def shutdown_tracing() -> None:
    """Flushes what is unsent and stops tracing."""
    global _enabled, _provider
    if _provider is not None:
        _provider.shutdown()
    _provider, _enabled = None, False


@contextmanager
def span(
    name: str, *, carrier: Mapping[str, str] | None = None, server: bool = False, **attributes: str
) -> Generator[None]:
    """One span round a piece of work; `carrier` holds the caller's traceparent."""
    if not _enabled or _provider is None:
        yield
        return
    parent = propagate.extract(carrier) if carrier else None
    kind = SpanKind.SERVER if server else SpanKind.INTERNAL
    with _provider.get_tracer("cloudphone").start_as_current_span(name, parent, kind, attributes):
        yield


def inject(headers: MutableMapping[str, str]) -> None:
    if _enabled:
        propagate.inject(headers)


def traceparent() -> str | None:
    """The present span's W3C traceparent, for an envelope; None outside a trace."""
    if not _enabled or not trace.get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")

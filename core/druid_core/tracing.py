"""
Traces of a task from its submission to its publishing, by OpenTelemetry; off until `start` is called.

A trace travels as a W3C `traceparent`: in the submission's header, in the task's context (by which it reaches the
peon of every attempt, whichever runner starts it), and in the header of the peon's actions. Parents are handed on by
hand and never by the thread. While it is off nothing is imported, and a span costs one comparison.
"""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from druid_core.errors import InvalidInput

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

TRACEPARENT = "traceparent"
"""The header, and the entry of a task's context. W3C Trace Context, level 1"""

Side = Literal["server", "client", "internal"]

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_provider: "TracerProvider | None" = None


@dataclass(slots=True)
class Traced:
    """A span under way; what it says when there is none is its parent's."""

    traceparent: str | None
    _span: Any = None

    @property
    def carried(self) -> dict[str, str]:
        """For whoever goes on with the trace: an entry for a context or for headers, or none."""
        return {} if self.traceparent is None else {TRACEPARENT: self.traceparent}

    def note(self, **attributes: str | int) -> None:
        if self._span is not None:
            self._span.set_attributes(attributes)


def is_on() -> bool:
    return _provider is not None


def has_collector() -> bool:
    """Whether the environment names one, by OpenTelemetry's own variables."""
    return any(os.environ.get(name) for name in _ENDPOINTS)


def start(service: str, exporter: "SpanExporter | None" = None) -> None:
    """
    From now on spans are sent, by default to the collector that the environment names. Twice is once.

    Raises InvalidInput where OpenTelemetry is not installed.
    """
    global _provider
    if _provider is not None:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ImportError as error:
        raise InvalidInput("Traces need OpenTelemetry: pip install 'nemeton[tracing]'") from error
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)})
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter))


def stop() -> None:
    """Send what is not sent yet, and be off."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
        _provider = None


@contextmanager
def span(
    name: str, parent: object, side: Side = "internal", *, may_begin: bool = False, **attributes: str | int
) -> Generator[Traced]:
    """
    The block as a span below `parent`, a traceparent. Without a valid one there is none, unless a trace `may_begin`.

    An error is named by its class alone: its text may hold what a trace must not.
    """
    known = parent if isinstance(parent, str) and _FORM.fullmatch(parent) else None
    if _provider is None or (known is None and not may_begin):
        yield Traced(known)
        return
    from opentelemetry.trace import SpanKind, StatusCode

    begun = _provider.get_tracer("nemeton").start_span(
        name, _context(known), SpanKind[side.upper()], attributes, record_exception=False
    )
    try:
        yield Traced(_traceparent(begun.get_span_context()), begun)
    except BaseException as error:
        begun.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        begun.end()


def past_span(name: str, parent: object, start_ms: int, end_ms: int, **attributes: str | int) -> None:
    """What lasted from `start_ms` to `end_ms`, seen only afterwards."""
    if _provider is None or not isinstance(parent, str) or not _FORM.fullmatch(parent):
        return
    begun = _provider.get_tracer("nemeton").start_span(
        name, _context(parent), attributes=attributes, start_time=start_ms * 1_000_000
    )
    begun.end(max(start_ms, end_ms) * 1_000_000)


def _context(parent: str | None) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # an empty one: whatever is current in this thread belongs to somebody else
    return TraceContextTextMapPropagator().extract({TRACEPARENT: parent or ""}, Context())


def _traceparent(context: Any) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

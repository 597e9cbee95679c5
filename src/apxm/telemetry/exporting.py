"""``--otel``: a command has no code of its user's that could set OpenTelemetry up, so this does."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

from apxm.errors import ConfigurationError, UsageError

_QUEUE = 65_536
"""Most spans that wait to be sent; the default of OpenTelemetry, 2,048, loses those of a wide fan-out."""


@contextmanager
def exporting() -> Generator[None]:
    """Sends the spans of whatever runs inside by OTLP over HTTP, as the variables ``OTEL_…`` say; where the process has
    a provider already, to that. Raises `UsageError` where a package is missing, `ConfigurationError` for a protocol
    that it does not speak."""
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # By its name: who has everything else of OpenTelemetry need not have this to check types.
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        hint = "pip install 'apxm[otel]'"
        raise UsageError(f"--otel needs packages that are not installed: {error.name}", hint=hint) from None
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield
        return
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := os.environ.get(name, "http/protobuf")) != "http/protobuf":
            raise ConfigurationError(f"{name} is {protocol!r}: --otel speaks http/protobuf alone")
    provider = TracerProvider()
    queue = None if "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ else _QUEUE
    provider.add_span_processor(BatchSpanProcessor(otlp.OTLPSpanExporter(), max_queue_size=queue))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()

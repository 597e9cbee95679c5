"""Calls of an SDK as spans of OpenTelemetry."""

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.each import each
from apxm.flows.flow import flow


def test_a_call_is_a_chat_in_the_span_of_its_lane(
    client: Any, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The environments of other clients, in which these tests run too, need not have it.
    pytest.importorskip("opentelemetry.sdk", reason="not installed: pip install 'apxm[otel]'")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    tracer = provider.get_tracer("user")

    @flow
    def main(rows: list[str]) -> None:
        for row in each(rows):
            with tracer.start_as_current_span(row):
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": row}])

    main.using(**told).run(["a", "b"])
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context is not None}
    chats = [span for span in spans if span.name == "chat m"]
    assert sorted(names[chat.parent.span_id] for chat in chats if chat.parent is not None) == ["a", "b"]
    attributes = chats[0].attributes or {}
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.request.stream"] is False

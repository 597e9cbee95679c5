"""A run as spans of OpenTelemetry, by its conventions for generative AI (docs/traces.md).

Only the API is used: where spans go is the process's own affair. A span's parent is the run's span or, where a lane of
Python asks, the one that is current in that lane; never what happens to be current where the loop begins an attempt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time_ns
from typing import Any, cast
from urllib.parse import urlsplit

from opentelemetry import trace as api
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from apxm.backends.exchange import HttpRequest
from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest, Usage
from apxm.errors import OperationError
from apxm.operations.types import text_form
from apxm.runtime.observing import Begin, CallObserver, Outcome
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.runtime.waiting import Call, Streaming
from apxm.tools.tool import ToolAnswer
from apxm.version import VERSION

CONVENTIONS = "0.1.0"
"""The version of the conventions for generative AI that names and attributes follow. They are written out here: the
package of Python's constants has none of them any more."""
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable by which instrumentations are asked for prompts and answers."""
_WITH_CONTENT = {"true", "span_only", "span_and_event"}
_KINDS_OF_CALLS = {"embeddings": "embeddings", "completions": "text_completion"}
"""What calls of an SDK are in the conventions; all others are chats."""
Attributes = dict[str, Any]


@dataclass(eq=False)
class _Open:
    """A span that is not over."""

    span: Span
    context: Context
    """What is current while an attempt is sent."""
    ended_ns: int = 0
    """When its last attempt ended."""
    error: OperationError | None = None
    """Why that failed."""


class Spans(CallObserver):
    """The spans of one run: one around it, and one for each operation that waited, all of its attempts included."""

    def __init__(self, tracer: Tracer, name: str, run_id: str, in_lanes: bool) -> None:
        """`name` is the flow's; `in_lanes` says that code in lanes asks."""
        self._tracer = tracer
        self._name = name
        self._run_id = run_id
        self._in_lanes = in_lanes
        self._open: dict[Call, _Open] = {}
        self._contents = os.environ.get(CONTENT, "").strip().lower() in _WITH_CONTENT
        self._trace: Trace | None = None
        self._around = Context()

    @contextmanager
    def around(self, run: Run) -> Generator[None]:
        """Spans the run. What is current here is its parent, and it is itself current inside."""
        attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": self._name,
            "apxm.run.id": self._run_id,
        }
        self._trace = trace = run.trace
        span = self._tracer.start_span(f"invoke_workflow {self._name}", attributes=attributes)
        self._around = api.set_span_in_context(span)
        token = attach(self._around)
        try:
            yield
        except BaseException as error:
            _fail(span, type(error).__qualname__)
            raise
        else:
            _conclude(span, trace)
        finally:
            detach(token)
            for call in list(self._open):  # whose ends nobody told of, as the run was cut off
                self.over(call)
            span.end()

    # --- an operation ----------------------------------------------------------------------------------------------

    def added(self, call: Call) -> None:
        # Frame 0 of a run in lanes is their own; in the others are flows of AIS, begun wherever the loop was.
        parent = None if self._in_lanes and call.frame.index == 0 else self._around
        name, kind, attributes = _described(call)
        span = self._tracer.start_span(name, parent, kind, attributes)
        self._open[call] = _Open(span, api.set_span_in_context(span, parent))

    def began(self, path: str, call: Call) -> None:
        found = self._open.get(call)
        if found is None or call.earlier or not found.span.is_recording():
            return
        frame, node = call.frame.index, call.node
        assert self._trace is not None
        found.span.set_attributes(
            {
                "apxm.operation.path": path,
                "code.file.path": self._trace.program.names.file_of(self._trace.frames[frame].plan),
                "code.line.number": self._trace.position_of(frame, node)[0],
                **(_asked(call.request) if self._contents else {}),
            }
        )

    def sending(self, begin: Begin, clock: Clock, /) -> Begin:
        def begin_in_span(call: Call) -> None:
            found = self._open.get(call)
            if found is not None:
                inner = None if isinstance(call.stream, _InSpan) else call.stream
                call.stream = _InSpan(call, inner, clock, found.context)
            begin(call)

        return begin_in_span

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        del path, duration
        found = self._open.get(call)
        if found is None:
            return
        found.ended_ns, found.error = time_ns(), None
        span = found.span
        match outcome:
            case None:
                span.set_attribute("apxm.outcome", "cancelled")
            case OperationError():
                found.error = outcome
                span.add_event("attempt failed", {"error.type": outcome.kind, "apxm.attempt": len(call.earlier) + 1})
            case _:
                self._answered(call, span, outcome)

    def _answered(self, call: Call, span: Span, outcome: Any) -> None:
        if not span.is_recording():
            return
        span.set_attributes(_used(outcome.usage))
        if call.first is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", (call.first - call.sent) / 1e9)
        if isinstance(outcome, ModelAnswer):
            reason = "length" if outcome.cut_off else "tool_call" if outcome.calls else "stop"
            span.set_attribute("gen_ai.response.finish_reasons", (reason,))
            if outcome.model is not None:
                span.set_attribute("gen_ai.response.model", outcome.model)
            if self._contents:
                span.set_attribute("gen_ai.output.messages", _said(outcome, reason))
        elif isinstance(outcome, ToolAnswer) and self._contents:
            span.set_attribute("gen_ai.tool.call.result", outcome.shown)

    def over(self, call: Call) -> None:
        found = self._open.pop(call, None)
        if found is None:
            return
        if call.earlier:
            found.span.set_attribute("apxm.attempts", len(call.earlier) + 1)
        if found.error is not None:  # what it quotes may be content
            _fail(found.span, found.error.kind, found.error.message if self._contents else None)
        found.span.end(found.ended_ns or None)


class _InSpan:
    """How an attempt is made, with its operation's span as the current one."""

    def __init__(self, call: Call, inner: Streaming | None, clock: Clock, context: Context) -> None:
        self._call = call
        self._inner = inner
        self._clock = clock
        self._context = context

    def begin(self, done: Callable[[Any], None]) -> Handle:
        token = attach(self._context)
        try:
            if self._inner is not None:
                return self._inner.begin(done)
            provider = self._call.provider
            assert provider.begin is not None
            return provider.begin(self._call.request, self._clock, done)
        finally:
            detach(token)

    async def call(self) -> object:
        token = attach(self._context)
        try:
            return await self._made()
        finally:
            detach(token)

    def _made(self) -> Awaitable[object]:
        if self._inner is not None:
            return self._inner.call()
        provider = self._call.provider
        assert provider.call is not None
        return provider.call(self._call.request)


def spans_here(name: str, run_id: str, in_lanes: bool) -> Spans | None:
    """The spans of a run; None where this process has nobody who wants them."""
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
        return None
    return Spans(provider.get_tracer("apxm", VERSION), name, run_id, in_lanes)


# --- attributes ------------------------------------------------------------------------------------------------------


def _described(call: Call) -> tuple[str, SpanKind, Attributes]:
    """Name, kind and attributes of an operation's span."""
    provider, request = call.provider, call.request
    if provider.kind == "tool":
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": provider.name}
        return f"execute_tool {provider.name}", SpanKind.INTERNAL, attributes
    called = _KINDS_OF_CALLS.get(request.called[0], "chat") if isinstance(request, HttpRequest) else "chat"
    model = provider.variant(request) or "unknown"
    attributes: Attributes = {"gen_ai.operation.name": called, "gen_ai.request.model": model}
    simulated = False
    if (info := provider.info) is not None:
        simulated = info.simulated
        attributes["gen_ai.provider.name"] = info.kind
        attributes["apxm.backend"] = info.name
        if info.endpoint is not None:
            parts = urlsplit(info.endpoint)
            attributes["server.address"] = parts.hostname or ""
            attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    if isinstance(request, ModelRequest):
        attributes |= _settings(request)
    elif isinstance(request, HttpRequest):
        # Whose format it is: who answers in that, nobody says.
        attributes["gen_ai.provider.name"] = "anthropic" if request.called[0] == "messages" else "openai"
        attributes["gen_ai.request.stream"] = request.streams
    return f"{called} {model}", SpanKind.INTERNAL if simulated else SpanKind.CLIENT, attributes


def _settings(request: ModelRequest) -> Attributes:
    found = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.output.type": "text" if request.answer is None else "json",
    }
    return {name: value for name, value in found.items() if value is not None}


def _used(usage: Usage) -> Attributes:
    found = {"gen_ai.usage.input_tokens": usage.input_tokens, "gen_ai.usage.output_tokens": usage.output_tokens}
    return {name: value for name, value in found.items() if value is not None}


def _asked(request: object) -> Attributes:
    """What is sent, for one who asked for contents. The calls of an SDK are its own to tell."""
    if isinstance(request, dict):
        return {"gen_ai.tool.call.arguments": text_form(cast("dict[str, Any]", request))}
    if not isinstance(request, ModelRequest):
        return {}
    system = request.system_text(tells_format=False)
    messages = [_message("user", request.prompt)]
    for past in request.rounds:
        calls = [_call(call.tool, call.arguments) for call in past.calls]
        text = [{"type": "text", "content": past.text}] if past.text else []
        messages.append({"role": "assistant", "parts": [*text, *calls]})
        results = [{"type": "tool_call_response", "response": result} for result in past.results]
        messages.append({"role": "tool", "parts": results})
    found = {"gen_ai.input.messages": _json(messages)}
    if system is not None:
        found["gen_ai.system_instructions"] = _json([{"type": "text", "content": system}])
    return found


def _said(answer: ModelAnswer, reason: str) -> str:
    parts = [{"type": "text", "content": answer.text}] if answer.text or not answer.calls else []
    parts += [_call(call.tool, call.arguments) for call in answer.calls]
    return _json([{"role": "assistant", "parts": parts, "finish_reason": reason}])


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _call(tool: str, arguments: str) -> dict[str, Any]:
    return {"type": "tool_call", "name": tool, "arguments": arguments}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fail(span: Span, kind: str, message: str | None = None) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, message)


def _conclude(span: Span, trace: Trace) -> None:
    span.set_attributes({"apxm.status": trace.status.value, "apxm.operations": trace.executed})
    if trace.reused:
        span.set_attribute("apxm.operations.reused", trace.reused)
    if trace.cost is not None:
        span.set_attribute("apxm.cost", trace.cost)
    if trace.failures:
        _fail(span, trace.failures[0].kind)
    elif trace.status is not Status.SUCCEEDED:
        _fail(span, trace.stopped.kind if trace.stopped is not None else trace.status.value)

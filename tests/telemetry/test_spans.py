"""Spans of OpenTelemetry: which there are, whose children, and what they say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import attach
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import apxm
from apxm.api import RunFailed
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.errors import BackendError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.testing import ScriptedBackend

CHAIN = 'agent A { @entry flow f() -> str {\nask("one", max_tokens: 9) -> a\nask(f"two {a}") -> b\nreturn b } }'
SIMULATED: dict[str, Any] = {"backend": "simulated", "latency": "constant:1", "journal": False}


class Collected:
    """What a process's provider was given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("user")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found

    def parents(self) -> list[tuple[str, str | None]]:
        """The name of each span and of its parent, sorted."""
        names = {span.context.span_id: span.name for span in self.spans if span.context is not None}
        found = [(span.name, None if span.parent is None else names[span.parent.span_id]) for span in self.spans]
        return sorted(found, key=str)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    found = Collected()
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", found.provider)
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    return found


class Own:
    """A backend of the user's, whose HTTP client makes spans of its own; by a coroutine."""

    limits = Limits(retries=2)
    can_reason = False
    info = BackendInfo(name="own", kind="openai", model="tiny", endpoint="https://models.example:8443/v1")

    def __init__(self, collected: Collected, answer: Callable[[ModelRequest], object] = lambda r: r.prompt) -> None:
        self.collected = collected
        self.answer = answer

    async def call(self, request: ModelRequest) -> ModelAnswer:
        with self.collected.tracer.start_as_current_span("POST"):
            await asyncio.sleep(0)
            found = self.answer(request)
            if isinstance(found, BackendError):
                raise found
            return ModelAnswer(str(found), Usage(3, 5), model="tiny-1")

    async def close(self) -> None: ...


class Leaky:
    """One that begins by a callback, and answers where another span than the run's is current."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="leaky", kind="own", model="tiny", simulated=True)

    def __init__(self, collected: Collected) -> None:
        self.collected = collected

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self.collected.tracer.start_span("POST").end()

        def answer() -> None:
            attach(api.set_span_in_context(self.collected.tracer.start_span("stray")))
            done(ModelAnswer(request.prompt))

        return clock.call_at(clock.now() + 1, lambda: copy_context().run(answer))

    async def close(self) -> None: ...


def pool(backend: Any) -> apxm.BackendPool:
    return apxm.BackendPool({backend.info.name: backend}, backend.info.name)


def test_a_run_is_a_workflow_around_its_chats(collected: Collected) -> None:
    result = apxm.run(apxm.compile_text(CHAIN, name="chain.ais"), backends=pool(Own(collected)))
    run = "invoke_workflow A.f"
    assert collected.parents() == [("POST", "chat tiny")] * 2 + [("chat tiny", run)] * 2 + [(run, None)]
    assert dict(collected.one(run).attributes or {}) == {
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.agent.name": "A.f", "apxm.run.id": result.run_id,
        "apxm.status": "succeeded", "apxm.operations": 2,
    }  # fmt: skip
    first, second = collected.named("chat tiny")
    assert first.kind is api.SpanKind.CLIENT
    assert dict(first.attributes or {}) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "tiny",
        "gen_ai.request.max_tokens": 9, "gen_ai.output.type": "text", "gen_ai.response.model": "tiny-1",
        "gen_ai.response.finish_reasons": ("stop",), "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 5,
        "server.address": "models.example", "server.port": 8443, "apxm.backend": "own", "apxm.operation.path": "a",
        "code.file.path": "chain.ais", "code.line.number": 2,
    }  # fmt: skip
    assert first.end_time is not None
    assert second.start_time is not None
    assert first.end_time <= second.start_time


def test_a_thousand_calls_at_once_are_a_thousand_children_of_the_run_whatever_is_current(collected: Collected) -> None:
    asks = "\n".join(f'ask("{k}") -> a{k}' for k in range(500))
    again = "\n".join(f"ask(a{k}) -> b{k}" for k in range(500))
    names = ", ".join(f"b{k}" for k in range(500))
    text = f"agent A {{ @entry flow f() -> str {{ {asks}\n{again}\nmerge({names}) -> all return all }} }}"
    for backend in (Leaky(collected), Own(collected)):
        collected.exporter.clear()
        apxm.run(apxm.compile_text(text, level=0), backends=pool(backend))
        run = collected.one("invoke_workflow A.f").context
        chats = collected.named("chat tiny")
        assert run is not None
        assert len(chats) == 1000
        assert {chat.parent.span_id for chat in chats if chat.parent is not None} == {run.span_id}
        assert len({chat.context.span_id for chat in chats if chat.context is not None}) == 1000
        posts = [span.parent.span_id for span in collected.named("POST") if span.parent is not None]
        assert sorted(posts) == sorted(chat.context.span_id for chat in chats if chat.context is not None)


def test_the_caller_s_current_span_is_the_run_s_parent_in_threads_and_generators_too(collected: Collected) -> None:
    program = apxm.compile_text('agent A { @entry flow f() -> str { ask("q") -> a return a } }')

    def runs() -> Iterator[str]:
        with collected.tracer.start_as_current_span("generator"):
            yield str(apxm.run(program, **SIMULATED).value)

    def in_thread() -> None:
        with collected.tracer.start_as_current_span("thread"):
            apxm.run(program, **SIMULATED)

    async def gathered() -> None:
        async def one(name: str) -> None:
            with collected.tracer.start_as_current_span(name):
                await apxm.run_async(program, **SIMULATED)

        await asyncio.gather(one("first"), one("second"))

    next(runs())
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    asyncio.run(gathered())
    parents = [parent for name, parent in collected.parents() if name.startswith("invoke_workflow")]
    assert parents == ["first", "generator", "second", "thread"]


def test_in_a_flow_of_python_the_span_of_the_lane_is_the_parent(collected: Collected) -> None:
    @flow
    def main(rows: list[str]) -> None:
        for row in each(rows):
            with collected.tracer.start_as_current_span(f"row {row}"):
                ask(ask(row))
        ask("outside")

    with collected.tracer.start_as_current_span("caller"):
        main.using(**SIMULATED).run(["a", "b"])
    model = "chat simulated"
    run = next(span.name for span in collected.spans if span.name.startswith("invoke_workflow"))
    assert collected.parents() == sorted(
        [("caller", None), (run, "caller"), ("row a", run), ("row b", run), (model, run)]
        + [(model, "row a")] * 2 + [(model, "row b")] * 2,
        key=str,
    )  # fmt: skip


def test_all_attempts_of_an_operation_are_one_span(collected: Collected) -> None:
    tries = iter(
        [
            BackendError("connection", "lost: secret", retryable=True),
            "fine",
            BackendError("refused", "secret", retryable=False),
        ]
    )
    with pytest.raises(RunFailed):
        apxm.run(apxm.compile_text(CHAIN), backends=pool(Own(collected, lambda _request: next(tries))))
    first, second = collected.named("chat tiny")
    assert [event.name for event in first.events] == ["attempt failed"]
    assert (first.attributes or {})["apxm.attempts"] == 2
    assert first.status.status_code is api.StatusCode.UNSET
    assert "error.type" not in (first.attributes or {})
    assert (second.attributes or {})["error.type"] == "refused"
    assert second.status.status_code is api.StatusCode.ERROR
    assert (collected.one("invoke_workflow A.f").attributes or {})["error.type"] == "refused"
    assert len(collected.named("POST")) == 3
    assert "secret" not in str([(span.attributes, span.status.description, span.events) for span in (first, second)])


def test_what_is_given_up_ends_too(collected: Collected) -> None:
    with pytest.raises(RunFailed):
        apxm.run(apxm.compile_text(CHAIN), backend="simulated", latency="constant:100000", timeout_s=0.05)
    chat, run = collected.spans
    assert (chat.attributes or {})["apxm.outcome"] == "cancelled"
    assert (run.attributes or {})["error.type"] == "timeout"


@pytest.mark.parametrize(("asked", "shown"), [("", False), ("false", False), ("true", True), ("SPAN_ONLY", True)])
def test_prompts_and_answers_are_told_only_where_that_is_asked_for(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, asked: str, shown: bool
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    text = 'agent A { system: "Brief." @entry flow f() -> str { ask("the prompt") -> a return a } }'
    apxm.run(apxm.compile_text(text), backends=pool(Own(collected, lambda _request: "the answer")))
    attributes = dict(collected.one("chat tiny").attributes or {})
    if not shown:
        assert not [name for name in attributes if "messages" in name or "instructions" in name]
        return
    assert json.loads(str(attributes["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "the prompt"}]}
    ]
    assert json.loads(str(attributes["gen_ai.system_instructions"])) == [{"type": "text", "content": "Brief."}]
    assert json.loads(str(attributes["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "the answer"}], "finish_reason": "stop"}
    ]


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_tool_is_executed(collected: Collected, in_thread: bool) -> None:
    def look_in_thread(q: str) -> str:
        collected.tracer.start_span("inside").end()
        return q

    async def look_in_loop(q: str) -> str:
        return look_in_thread(q)

    look = look_in_thread if in_thread else look_in_loop
    text = 'agent A { capability look(q: str) -> str readonly @entry flow f() -> str { look(q: "x") -> a return a } }'
    apxm.run(apxm.compile_text(text), backends=pool(ScriptedBackend()), tools={"look": look})
    attributes = collected.one("execute_tool look").attributes or {}
    assert (attributes["gen_ai.operation.name"], attributes["gen_ai.tool.name"]) == ("execute_tool", "look")
    assert ("inside", "execute_tool look") in collected.parents()


def test_an_answer_in_parts_comes_in_its_span(collected: Collected) -> None:
    said: list[str] = []
    result = apxm.run(apxm.compile_text(CHAIN), on_text=lambda part: said.append(part.text), **SIMULATED)
    assert "".join(said) == result.value
    streamed = [span for span in collected.spans if "gen_ai.response.time_to_first_chunk" in (span.attributes or {})]
    assert len(streamed) == 1


def test_without_a_provider_nothing_is_loaded_and_nobody_watches() -> None:
    script = f"""
import sys, apxm
result = apxm.run(apxm.compile_text({CHAIN!r}), backend="simulated", latency="constant:1")
print([name for name in sys.modules if name.startswith(("opentelemetry", "apxm.telemetry"))])
import opentelemetry.trace
from apxm.session import Session
kept, execute = [], Session.execute
def watched(self):
    kept.append(self)
    return execute(self)
Session.execute = watched
apxm.run(apxm.compile_text({CHAIN!r}), backend="simulated", latency="constant:1")
print(type(kept[0].run._calls).__name__)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "Calls"]


class Receiver:
    """A collector: takes OTLP over HTTP, as its protocol says."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def test_a_command_sends_its_spans_to_a_collector(tmp_path: Path) -> None:
    asks = "\n".join(f'ask("{k}") -> a{k}' for k in range(1000))
    names = ", ".join(f"a{k}" for k in range(1000))
    (tmp_path / "wide.ais").write_text(
        f"agent A {{ @entry flow f() -> str {{ {asks}\nmerge({names}) -> m return m }} }}"
    )
    with Receiver() as receiver:
        environment = {
            "PATH": "", "HOME": str(tmp_path), "OTEL_SERVICE_NAME": "wide",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server.server_address[1]}",
        }  # fmt: skip
        command = [sys.executable, "-m", "apxm", "execute", "wide.ais", "--otel", "-q", "--latency", "constant:5"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    run = next(span for span in receiver.spans if span.name == "invoke_workflow A.f")
    chats = [span for span in receiver.spans if span.name.startswith("chat ")]
    assert len(chats) == 1000
    assert {span.parent_span_id for span in chats} == {run.span_id}
    assert {span.trace_id for span in chats} == {run.trace_id}
    (service,) = {
        attribute.value.string_value
        for request in receiver.requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert service == "wide"

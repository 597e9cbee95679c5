"""A second kind of waiting operation beside the model call: what it needs is said in one place, and the scheduler, the
calls, the recorder and the trace run it as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import BackendInfo, Clock, Handle
from apxm.errors import OperationError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, Ended, Started, Traced, header_of
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.runtime.handlers import table
from apxm.runtime.handlers.table import Handler, LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend
from tests.calls import Tool, ToolCall
from tests.plans import ask, give, plan, program

MS = 1_000_000
RUN = "20260131-235959-k3vd"


def use(node: int | str) -> Operate:
    """Hands the value of a node, or a text, to the tool."""
    if isinstance(node, int):
        return Operate(operation="use", operands=(node,), arguments=(Operand(0),), result="str")
    return Operate(operation="use", operands=(), arguments=(Literal(node),), result="str")


class ByCallback(Tool):
    """Answers after 30 ms, without a task."""

    def __init__(self, script: Callable[[Any], object], **says: Any) -> None:
        super().__init__("counter", **says)
        self.script = script
        self.log: list[str] = []

    def begin(self, request: Any, clock: Clock, done: Callable[[Any], None]) -> Handle:  # type: ignore[override]
        self.log.append(f"{request} at {clock.now() / MS:g}")
        timer = clock.call_at(clock.now() + 30 * MS, lambda: done(self.script(request)))
        return _Logged(self.log, str(request), timer)


class _Logged:
    def __init__(self, log: list[str], name: str, timer: Handle) -> None:
        self.log, self.name, self.timer = log, name, timer

    def cancel(self) -> None:
        self.log.append(f"{self.name} is given up")
        self.timer.cancel()


class ByCoroutine(Tool):
    """The same in a task."""

    def __init__(self, script: Callable[[Any], object], **says: Any) -> None:
        super().__init__("counter", **says)
        self.script = script
        self.log: list[str] = []

    async def call(self, request: Any) -> object:  # type: ignore[override]
        self.log.append(f"{request} at {asyncio.get_running_loop().time() * 1e3:g}")
        try:
            await asyncio.sleep(0.03)
        except asyncio.CancelledError:
            self.log.append(f"{request} is given up")
            raise
        outcome = self.script(request)
        if isinstance(outcome, OperationError):
            raise outcome
        return outcome


def loaded(p: Program, tool: Tool) -> LoadedProgram:
    def handler_of(node: Operate, program: Program) -> Handler:
        if node.operation != "use":
            return table.handler(node, program)
        found = ToolCall(tool, node.operands, str(node.arguments[0].value) if not node.operands else "")  # type: ignore[union-attr]
        found.priority = node.priority
        return found

    return LoadedProgram(p, handler_of)


def run(p: Program, tool: Tool, backend: ScriptedBackend | None = None, **options: Any) -> Trace:
    backend = backend or ScriptedBackend(latency_ms=lambda _: 100)
    pool = BackendPool({backend.name: backend}, backend.name)
    return run_virtually(Run(loaded(p, tool), p.flows[0], (), pool, RunOptions(**options)).execute())


STYLES = pytest.mark.parametrize("style", [ByCallback, ByCoroutine])
Style = Callable[..., ByCallback | ByCoroutine]
CHAIN = program(plan(ask("a"), use(0), ask(1), give(2)))


@STYLES
def test_it_waits_between_model_calls_at_exact_instants(style: Style) -> None:
    tool = style(lambda text: f"({text})")
    trace = run(CHAIN, tool)
    assert (trace.status, trace.value) == (Status.SUCCEEDED, "[([a])]")
    assert tool.log == ["[a] at 100"]
    waited = [(record.backend, record.ready / MS, record.routed / MS) for record in trace.operations]
    assert waited == [("scripted", 0, 100), ("counter", 100, 130), ("scripted", 130, 230)]
    [attempt] = trace.operations[1].attempts
    assert (attempt.outcome, attempt.usage.total, attempt.service_ns, attempt.first) == ("ok", None, None, None)
    assert trace.executed == 3
    metrics = measure(trace, LinkPhases(), BackendInfo("scripted", "scripted", "scripted", simulated=True))
    assert metrics.work_span.t1_ms == 230


@STYLES
def test_it_takes_no_slot_of_the_run_and_asks_nobody(style: Style) -> None:
    tool = style(lambda text: text)
    p = program(plan(ask("a"), ask("b"), *[use(name) for name in "xyz"], give(1)))
    trace = run(p, tool, max_concurrency=1)
    assert tool.log == ["x at 0", "y at 0", "z at 0"]
    assert trace.duration == 200 * MS
    assert trace.max_in_flight == 4


@STYLES
def test_it_is_given_up_when_the_run_ends(style: Style) -> None:
    tool = style(lambda text: text)
    p = program(plan(use("x"), ask("a"), give(1)))
    trace = run(p, tool, ScriptedBackend(latency_ms=lambda _: 10), timeout_s=0.02)
    assert (trace.status, trace.duration) == (Status.STOPPED, 20 * MS)
    assert tool.log == ["x at 0", "x is given up"]
    outcomes = {record.backend: record.attempts[-1].outcome for record in trace.operations}
    assert outcomes == {"scripted": "ok", "counter": "cancelled"}


@STYLES
def test_a_time_limit_gives_it_up_and_fails_it(style: Style) -> None:
    tool = style(lambda text: text, timeout_ns=20 * MS)
    trace = run(program(plan(use("x"), give(0))), tool)
    assert tool.log == ["x at 0", "x is given up"]
    assert [(f.kind, f.message) for f in trace.failures] == [("timeout", "no answer from tool 'counter' within 0.02 s")]
    assert trace.duration == 20 * MS


@STYLES
def test_a_failure_is_never_tried_again_and_what_follows_is_skipped(style: Style) -> None:
    tool = style(lambda _: OperationError("refused", "no"))
    trace = run(CHAIN, tool)
    assert len(tool.log) == 1
    assert [(f.operation, f.kind, f.message) for f in trace.failures] == [("n1", "refused", "no")]
    assert (trace.failed, trace.skipped, trace.duration) == (1, 1, 130 * MS)


def test_what_it_raises_is_its_own_defect() -> None:
    tool = ByCoroutine(lambda _: 1 // 0)
    [failure] = run(CHAIN, tool).failures
    assert (failure.kind, failure.message.split(" raised ")[0]) == ("tool_defect", "tool 'counter'")


@STYLES
def test_the_journal_knows_that_it_starts_before_it_does_and_answers_for_it_later(style: Style, tmp_path: Path) -> None:
    tool = style(lambda text: f"({text})", records_started=True)
    header = header_of(
        CHAIN, apxm="0", run_id=RUN, started=0, path="p.ais", kind="source", flow="A.main", inputs=(), options={}
    )

    def go_on(journal: Journal, history: Any = None) -> Trace:
        backend = ScriptedBackend(latency_ms=lambda _: 0)
        made = Run(loaded(CHAIN, tool), CHAIN.flows[0], (), BackendPool({"scripted": backend}, "scripted"))
        try:
            with asyncio.Runner(loop_factory=real_loop) as runner:
                return runner.run(asyncio.wait_for(made.execute(Recorder(journal, "0", history)), 60))
        finally:
            journal.close()

    assert go_on(Journal.create(tmp_path, header)).value == "[([a])]"
    rows = [record.row for record in read(tmp_path, RUN).records]
    assert [(type(row), row.path) for row in rows if not isinstance(row, Traced | Ended)] == [  # type: ignore[union-attr]
        (Answered, "n0"),
        (Started, "n1"),
        (Answered, "n1"),
        (Answered, "n2"),
    ]
    started, result = rows[1:3]
    assert isinstance(started, Started)
    assert isinstance(result, Answered)
    assert started.digest == result.digest
    assert started.idempotency_key == f"{RUN}/n1"
    assert (result.value, result.backend, result.usage.total, result.model) == ("([a])", "counter", None, None)
    again = go_on(*Journal.reopen(tmp_path, RUN))
    assert (again.value, again.reused, len(tool.log)) == ("[([a])]", 3, 1)


def test_nothing_but_its_own_file_the_table_and_what_is_about_prompts_knows_the_model_call() -> None:
    room = Path(table.__file__).parent.parent
    names = ("ModelCall", "ModelProvider", "ModelRequest", "ModelAnswer", "sound_outcome")
    knowing = {
        path.relative_to(room).as_posix() for path in room.rglob("*.py") if any(n in path.read_text() for n in names)
    }
    assert knowing == {"handlers/model.py", "handlers/table.py", "budget.py", "replay.py"}

"""T1, T_inf and the critical path of runs whose every duration is known."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.analysis.losses import losses
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.analysis.work_span import longest_path, work
from apxm.backends.protocol import BackendInfo, ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.errors import BackendError
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Enter, Exit, Input
from apxm.program.openers import Subflow, Switch
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Trace
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, give, merge, plan, program, show
from tests.random_plans import random_program
from tests.turning import answering, turning_source

MS = 1_000_000
USED = BackendInfo(name="scripted", kind="scripted", model="m", simulated=True)


def timed(latencies: dict[str, float]) -> ScriptedBackend:
    return ScriptedBackend(script=lambda _: "ok", latency_ms=lambda request: latencies[request.prompt.split("\n")[0]])


def names(trace: Trace) -> list[str]:
    return [trace.path_of(step.frame, step.node) for step in longest_path(trace).steps]


def test_a_fan_out_has_the_work_of_all_and_the_span_of_the_slowest() -> None:
    trace = execute_virtually(program(plan(ask("a"), ask("b"), merge(0, 1), give(2))), timed({"a": 200, "b": 700}))
    assert work(trace) == 900 * MS
    assert longest_path(trace).length == 700 * MS
    assert names(trace) == ["n1", "n2"]


def test_order_edges_are_part_of_the_path() -> None:
    p = program(plan(ask("a"), show(0), show("then", after=[1]), ask("b")))
    trace = execute_virtually(p, timed({"a": 300, "b": 10}))
    assert names(trace) == ["n0", "n1", "n2"]


def test_a_path_through_frames_counts_what_is_inside_and_waits_for_the_selector() -> None:
    arm = plan(Input(), ask("inside", 0), give(1))
    free = plan(ask("free"), give(0))
    main = plan(
        ask("kind"),
        ask("value"),
        Switch(operands=(0,), selector=Operand(0), labels=("ok",), arms=(1,)),
        Enter(opener=2, port=0, operands=(1,), value=Operand(0)),
        Exit(opener=2, port=0),
        Subflow(plan=2),
        Exit(opener=5, port=0),
        merge(4, 6),
        give(7),
    )
    p = program(main, arm, free)
    trace = execute_virtually(p, timed({"kind": 100, "value": 50, "inside": 30, "free": 120}))
    assert longest_path(trace).length == 130 * MS == trace.duration
    assert names(trace) == ["n0", "n1", "n7"]  # the middle one inside the arm
    slow_value = execute_virtually(p, timed({"kind": 10, "value": 50, "inside": 30, "free": 20}))
    assert names(slow_value) == ["n1", "n1", "n7"]


def test_a_frame_that_nothing_leaves_counts() -> None:
    trace = execute_virtually(program(plan(Subflow(plan=1), ask("a")), plan(ask("b"))), timed({"a": 10, "b": 20}))
    assert names(trace) == ["n0/n0"]


def test_failed_attempts_are_work_and_pauses_are_not() -> None:
    def script(_request: ModelRequest) -> str | BackendError:
        return "ok" if len(backend.calls) > 1 else BackendError("connection", "lost", retryable=True)

    backend = ScriptedBackend(script=script, latency_ms=lambda _request: 40)
    trace = execute_virtually(program(plan(ask("x", retries=1))), backend)
    assert work(trace) == longest_path(trace).length == 80 * MS


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_without_limits_a_run_takes_exactly_its_span_and_with_one_it_lies_between_the_bounds(seed: int) -> None:
    random = Random(seed)
    p = random_program(random)
    slots = random.randrange(1, 5)

    def latency(request: ModelRequest) -> float:
        return Random(request.prompt).randrange(1, 1000)

    free = execute_virtually(p, ScriptedBackend(latency_ms=latency))
    assert free.duration == longest_path(free).length
    assert longest_path(free).length <= work(free)
    limited = execute_virtually(p, ScriptedBackend(latency_ms=latency), options=RunOptions(max_concurrency=slots))
    t1, t_inf = work(limited), longest_path(limited).length
    assert (t1, t_inf) == (work(free), longest_path(free).length)
    assert max(t1 / slots, t_inf) <= limited.duration <= t1 / slots + t_inf * (1 - 1 / slots)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from([0, 1]), failing=st.sampled_from([0, 0.1, 0.4]))
def test_turns_and_attempts_take_exactly_their_span_too(seed: int, level: int, failing: float) -> None:
    random = Random(seed)
    p = compile_source(SourceFile("test.ais", turning_source(random)), level=level).program
    items = [f"x{n}" for n in range(random.randrange(4))]
    trace = execute_virtually(p, answering(seed, failing), arguments=[items])
    assert longest_path(trace).length == trace.duration
    assert losses(trace).runtime == 0


def test_metrics_of_a_fan_out() -> None:
    p = program(plan(*[ask(str(i)) for i in range(1, 5)], merge(0, 1, 2, 3), give(4)))
    trace = execute_virtually(p, timed({"1": 100, "2": 200, "3": 300, "4": 400}))
    found = measure(trace, LinkPhases(), USED)
    assert found.execution.nodes_executed == 5
    assert found.scheduler.max_parallelism == 4
    assert found.scheduler.avg_parallelism == 2.5
    assert (found.work_span.t1_ms, found.work_span.t_inf_ms) == (1000, 400)
    assert (found.work_span.parallelism, found.work_span.speedup) == (2.5, 2.5)
    assert found.llm.total_requests == 4
    assert (found.llm.avg_latency_ms, found.llm.max_latency_ms) == (250, 400)
    assert (found.llm.p50_latency_ms, found.llm.p95_latency_ms, found.llm.p99_latency_ms) == (200, 400, 400)
    assert (found.llm.total_input_tokens, found.llm.total_output_tokens) == (4, 4)


def test_metrics_of_a_run_that_called_no_model() -> None:
    found = measure(execute_virtually(program(plan(show("x")))), LinkPhases(), USED)
    assert found.work_span.speedup == found.work_span.parallelism == 1.0
    assert found.llm.total_requests == 0
    assert found.llm.avg_latency_ms == 0.0
    assert found.llm.total_input_tokens == 0


def test_a_switch_without_a_match_has_metrics_too() -> None:
    p = program(
        plan(Switch(selector=Literal("x"), labels=("y",), arms=(1,)), Exit(opener=0, port=0)), plan(ask("a"), give(0))
    )
    assert measure(execute_virtually(p), LinkPhases(), USED).execution.status == "failed"

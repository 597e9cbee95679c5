"""Whole runs on virtual time: every instant is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from apxm.backends.protocol import BackendInfo, Limits, ModelAnswer, ModelRequest, Price
from apxm.errors import BackendError, ConfigurationError, UsageError
from apxm.program.expressions import Field, Literal, Operand
from apxm.program.nodes import Compute, Enter, Exit, Input
from apxm.program.openers import Subflow, Switch
from apxm.program.program import NodeName, PlanNames, Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import Progress
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually, run_virtually
from tests.plans import ask, give, merge, plan, program, show

EIGHT = program(plan(*[ask(f"Task {letter}") for letter in "ABCDEFGH"], merge(*range(8)), give(8)))


def by_prompt(latencies: dict[str, float], otherwise: float = 1000) -> ScriptedBackend:
    """A backend that takes the time whose key is part of the prompt."""

    def latency(request: ModelRequest) -> float:
        return next((ms for key, ms in latencies.items() if key in request.prompt), otherwise)

    return ScriptedBackend(latency_ms=latency)


def ms(trace: Trace) -> float:
    return trace.duration / 1e6


def test_eight_asks_of_a_second_end_after_a_second() -> None:
    trace = execute_virtually(EIGHT)
    assert ms(trace) == 1000
    assert trace.max_in_flight == 8
    assert trace.value == "\n".join(f"[Task {letter}]" for letter in "ABCDEFGH")
    assert trace.status is Status.SUCCEEDED


@pytest.mark.parametrize(("limit", "expected"), [(1, 8000), (2, 4000), (3, 3000), (8, 1000), (100, 1000)])
def test_a_limit_of_the_run_makes_rounds(limit: int, expected: float) -> None:
    trace = execute_virtually(EIGHT, options=RunOptions(max_concurrency=limit))
    assert ms(trace) == expected
    assert trace.max_in_flight == min(limit, 8)


def test_a_limit_of_the_backend_holds_over_all_runs_of_the_process_and_runs_take_turns() -> None:
    backend = ScriptedBackend(max_concurrency=2)
    pool = BackendPool({"scripted": backend}, "scripted")

    async def both() -> list[Trace]:
        runs = [Run(LoadedProgram(EIGHT), EIGHT.flows[0], (), pool) for _ in range(2)]
        return list(await asyncio.gather(*(run.execute() for run in runs)))

    first, second = run_virtually(both())
    assert [ms(first), ms(second)] == [7000, 8000]  # the first had both slots once, before the second was there
    assert max(first.max_in_flight, second.max_in_flight) <= 2


def test_a_free_slot_goes_to_a_run_that_can_use_it_past_one_that_is_at_its_own_limit() -> None:
    shared = ScriptedBackend(name="shared", max_concurrency=1, latency_ms=lambda _request: 100)
    other = by_prompt({"soon": 50}, otherwise=200)
    other.name, other.script = "other", lambda _request: "ok"
    pool = BackendPool({"shared": shared, "other": other}, "shared")
    holder = program(plan(ask("holds")))
    # From 0 ms this run waits for the shared slot, and from 50 ms it has no slot of its own left to use it with.
    stuck = program(plan(ask("soon", backend="other"), ask("stuck"), *[ask("late", 0, backend="other")] * 2))
    free = program(plan(ask("free")))

    async def main() -> None:
        limits = [None, 2, None]
        runs = [
            Run(LoadedProgram(p), p.flows[0], (), pool, RunOptions(max_concurrency=limit))
            for p, limit in zip((holder, stuck, free), limits, strict=True)
        ]
        await asyncio.gather(*(run.execute() for run in runs))

    run_virtually(main())
    assert [(call.request.prompt, call.sent_ms) for call in shared.calls] == [
        ("holds", 0),
        ("free", 100),
        ("stuck", 250),
    ]


def test_branches_of_uneven_stages_do_not_wait_for_each_other() -> None:
    # 200 then 1,000 ms beside 1,000 then 200 ms: a barrier between stages would take 2,000.
    backend = by_prompt({"first": 200, "second": 1000, "third": 1000, "fourth": 200})
    two_branches = plan(ask("first"), ask("second", 0), ask("third"), ask("fourth", 2), merge(1, 3), give(4))
    backend.script = lambda _request: "ok"
    assert ms(execute_virtually(program(two_branches), backend)) == 1200


def test_calls_that_were_not_inlined_do_not_change_that() -> None:
    branch_a = plan(ask("quick stage"), ask("full stage", 0), give(1))
    branch_b = plan(ask("full stage"), ask("quick stage", 0), give(1))
    main = plan(Subflow(plan=1), Exit(opener=0, port=0), Subflow(plan=2), Exit(opener=2, port=0), merge(1, 3), give(4))
    backend = by_prompt({"quick": 200, "full": 1000})
    backend.script = lambda _request: "ok"
    assert ms(execute_virtually(program(main, branch_a, branch_b), backend)) == 1200


def test_a_stage_in_a_switch_arm_does_not_wait_for_a_value_of_the_other_arm() -> None:
    main = plan(
        ask("full"),
        ask("quick"),
        ask("very slow"),
        Switch(selector=Literal("this"), labels=("this", "that"), arms=(1, 2)),
        Enter(opener=3, port=0, operands=(0,), value=Operand(0)),
        Enter(opener=3, port=1, operands=(2,), value=Operand(0)),
        Exit(opener=3, port=0),
        ask("full", 1),
        merge(6, 7),
        give(8),
    )
    first = plan(Input(), Input(), ask("quick", 0), give(2))
    second = plan(Input(), Input(), ask("never", 1), give(2))
    backend = by_prompt({"very slow": 5000, "quick": 200, "full": 1000})
    backend.script = lambda _request: "ok"
    trace = execute_virtually(program(main, first, second), backend)
    stages = sorted(record.routed / 1e6 for record in trace.operations)
    assert stages == [200, 1000, 1200, 1200, 5000]
    assert "never" not in "".join(backend.prompts)


def test_printed_lines_come_in_program_order_whatever_the_latencies() -> None:
    p = program(
        plan(ask("slow"), show("first:", 0), ask("fast"), show("second:", 2, after=[1]), show("third", after=[3]))
    )
    lines: list[str] = []
    trace = execute_virtually(p, by_prompt({"slow": 900, "fast": 1}), options=RunOptions(output=lines.append))
    assert lines == ["first: [slow]", "second: [fast]", "third"] == trace.printed


def test_a_failed_operation_fails_the_run_and_all_else_is_finished_and_kept() -> None:
    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("http_status", "no", retryable=False) if request.prompt == "bad" else "fine"

    backend = ScriptedBackend(script=script)
    trace = execute_virtually(program(plan(ask("bad"), ask("good"), ask(0), ask(1), give(2))), backend)
    assert trace.status is Status.FAILED
    assert [(f.operation, f.where, f.kind, f.message) for f in trace.failures] == [
        ("n0", "test.ais:1:1", "http_status", "no")
    ]
    assert (trace.executed, trace.failed, trace.skipped) == (3, 1, 1)
    assert backend.prompts == ["bad", "good", "fine"]
    assert trace.value is None


MISSING = Compute(value=Field(Literal({}), "title"))


def test_a_value_that_cannot_be_computed_is_the_failure_of_each_operation_that_needs_it() -> None:
    trace = execute_virtually(program(plan(MISSING, show("a", 0), show("b", 0), ask(0), show("c"))))
    assert trace.printed == ["c"]
    assert [(f.operation, f.kind) for f in trace.failures] == [(f"n{i}", "missing_field") for i in (1, 2, 3)]
    assert (trace.executed, trace.failed, trace.skipped) == (4, 3, 0)


def test_a_value_that_cannot_be_computed_is_no_failure_where_nothing_needs_it() -> None:
    trace = execute_virtually(program(plan(MISSING, show("c"))))
    assert (trace.status, trace.executed, trace.failed) == (Status.SUCCEEDED, 1, 0)


def test_an_operation_that_failed_skips_what_also_needs_a_value_that_cannot_be_computed() -> None:
    backend = ScriptedBackend(script=lambda _: BackendError("test", "told to fail", retryable=False))
    trace = execute_virtually(program(plan(MISSING, ask("first"), show(0, 1))), backend)
    assert [f.operation for f in trace.failures] == ["n1"]
    assert trace.skipped == 1


def test_a_result_that_cannot_be_computed_fails_the_run_at_the_return() -> None:
    trace = execute_virtually(program(plan(MISSING, give(0))))
    unnamed = tuple(NodeName(path="", line=n, column=1) for n in (1, 2))
    p = replace(trace.program, names=replace(trace.program.names, plans=(PlanNames(path="p", nodes=unnamed),)))
    [failure] = execute_virtually(p).failures
    assert (failure.operation, failure.where, failure.kind) == ("return", "test.ais:2:1", "missing_field")


def test_failures_are_listed_in_the_order_of_the_text_not_of_time() -> None:
    backend = by_prompt({"early": 1, "late": 2})
    backend.script = lambda request: BackendError("http_status", request.prompt, retryable=False)
    trace = execute_virtually(program(plan(ask("late"), ask("early"))), backend)
    assert [failure.message for failure in trace.failures] == ["late", "early"]


def test_failures_of_one_place_are_listed_by_their_paths_not_by_time() -> None:
    def failures(latencies: list[float]) -> list[str]:
        main = plan(
            Subflow(plan=1), Exit(opener=0, port=0), Subflow(plan=1), Exit(opener=2, port=0), merge(1, 3), give(4)
        )
        arriving = iter(latencies)
        backend = ScriptedBackend(
            script=lambda _: BackendError("http_status", "no", retryable=False), latency_ms=lambda _: next(arriving)
        )
        trace = execute_virtually(program(main, plan(ask("x"), give(0))), backend)
        return [failure.operation for failure in trace.failures]

    assert failures([1, 2]) == failures([2, 1]) == ["n0/n0", "n2/n0"]


# --- attempts ------------------------------------------------------------------------------------------------------


def failing_until(successful_attempt: int, *, retryable: bool = True) -> ScriptedBackend:
    backend = ScriptedBackend(latency_ms=lambda _request: 10)

    def script(_request: ModelRequest) -> str | BackendError:
        if len(backend.calls) < successful_attempt:
            return BackendError("http_status", "busy", retryable=retryable)
        return "at last"

    backend.script = script
    return backend


def test_retries_happen_after_pauses_that_are_waiting_and_not_work() -> None:
    backend = failing_until(3)
    trace = execute_virtually(program(plan(ask("x", retries=5), give(0))), backend)
    assert trace.value == "at last"
    [record] = trace.operations
    assert [a.outcome for a in record.attempts] == ["http_status", "http_status", "ok"]
    assert all(a.latency == 10_000_000 for a in record.attempts)
    pauses = [b.granted - a.received for a, b in zip(record.attempts, record.attempts[1:], strict=False)]
    assert 0 <= pauses[0] < 500_000_000
    assert 0 <= pauses[1] < 1_000_000_000


def test_a_pause_gives_its_slot_to_others() -> None:
    def script(request: ModelRequest) -> str | BackendError:
        bad = request.prompt == "bad" and len(backend.calls) == 1
        return BackendError("connection", "lost", retryable=True) if bad else "ok"

    backend = ScriptedBackend(script=script, latency_ms=lambda _request: 100)
    p = program(plan(ask("bad", retries=1), ask("good")))
    execute_virtually(p, backend, options=RunOptions(max_concurrency=1))
    assert backend.prompts[:2] == ["bad", "good"]
    assert backend.calls[1].sent_ms == 100


@pytest.mark.parametrize(("retryable", "retries"), [(False, 5), (True, 0), (True, 2)])
def test_no_further_attempt_where_it_cannot_help_or_was_not_asked_for(retryable: bool, retries: int) -> None:
    backend = failing_until(99, retryable=retryable)
    trace = execute_virtually(program(plan(ask("x", retries=retries))), backend)
    assert len(backend.calls) == (retries + 1 if retryable else 1)
    assert trace.status is Status.FAILED


def test_an_attempt_that_takes_too_long_is_cancelled_and_named() -> None:
    backend = ScriptedBackend()
    trace = execute_virtually(program(plan(ask("x", timeout=0.25), ask("y"))), backend)
    assert [f.kind for f in trace.failures] == ["timeout"]
    assert trace.failures[0].message == "no answer from backend 'scripted' within 0.25 s"
    assert backend.calls[0].cancelled
    assert not backend.calls[1].cancelled
    assert ms(trace) == 1000


def test_an_answer_that_arrives_as_its_time_runs_out_has_arrived() -> None:
    assert execute_virtually(program(plan(ask("x", timeout=1.0)))).status is Status.SUCCEEDED


def test_the_time_limit_counts_from_sending_not_from_waiting_for_a_slot() -> None:
    p = program(plan(*[ask(f"{i}", timeout=1.5) for i in range(4)]))
    trace = execute_virtually(p, options=RunOptions(max_concurrency=1))
    assert trace.status is Status.SUCCEEDED
    assert ms(trace) == 4000


def test_different_time_limits_expire_each_at_its_own_instant() -> None:
    p = program(plan(*[ask(f"{t}", timeout=t) for t in (0.3, 0.1, 0.2, 0.1)]))
    trace = execute_virtually(p)
    ended = {trace.place_of(r.frame, r.node): r.routed / 1e6 for r in trace.operations}
    assert ended == {"test.ais:1:1": 300, "test.ais:2:1": 100, "test.ais:3:1": 200, "test.ais:4:1": 100}


def test_time_limits_beyond_all_clocks_are_limits_still() -> None:
    p = program(plan(ask("ages", timeout=1e300), ask("an instant", timeout=1e-300), give(0)))
    trace = execute_virtually(p, options=RunOptions(timeout_s=1e300))
    assert [(f.where, f.kind) for f in trace.failures] == [("test.ais:2:1", "timeout")]
    assert ms(trace) == 1000


# --- the ends of a run ---------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long_is_stopped_and_keeps_what_it_has() -> None:
    backend = by_prompt({"quick": 100})
    p = program(plan(ask("quick"), show("got", 0), ask("slow"), give(2)))
    trace = execute_virtually(p, backend, options=RunOptions(timeout_s=0.5))
    assert trace.status is Status.STOPPED
    assert ms(trace) == 500
    assert trace.printed == ["got [quick]"]
    assert [a.outcome for r in trace.operations for a in r.attempts] == ["ok", "cancelled"]
    assert backend.calls[1].cancelled


def during(p: Program, act: Callable[[Run, asyncio.Task[Trace]], None], backend: Any, after_s: float = 0.5) -> Trace:
    """A run in whose middle `act` happens."""

    async def main() -> Trace:
        run = Run(LoadedProgram(p), p.flows[0], (), BackendPool({"b": backend}, "b"), RunOptions(max_concurrency=3))
        task = asyncio.create_task(run.execute())
        await asyncio.sleep(after_s)
        act(run, task)
        return await task

    return run_virtually(main())


def test_a_stopped_run_keeps_the_attempts_of_what_waits_for_a_slot_again() -> None:
    # `first` fails at once, pauses, and then waits behind `long` for the only slot.
    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("connection", "lost", retryable=True) if request.prompt == "first" else "ok"

    backend = ScriptedBackend(script, lambda request: 1 if request.prompt == "first" else 60_000)
    p = program(plan(ask("first", retries=9), ask("long")))
    trace = execute_virtually(p, backend, options=RunOptions(max_concurrency=1, timeout_s=30))
    assert trace.status is Status.STOPPED
    assert {r.node: [a.outcome for a in r.attempts] for r in trace.operations} == {
        0: ["connection"],
        1: ["cancelled"],
    }


def test_an_interrupted_run_cancels_what_is_in_flight_and_starts_nothing_more() -> None:
    backend = ScriptedBackend()
    trace = during(EIGHT, lambda run, _: run.stop(Status.INTERRUPTED), backend)
    assert trace.status is Status.INTERRUPTED
    assert ms(trace) == 500
    assert len(backend.calls) == 3
    assert all(call.cancelled for call in backend.calls)


def test_progress_counts_what_is_done_running_and_waiting() -> None:
    seen: list[Progress] = []
    backend = ScriptedBackend()
    during(EIGHT, lambda run, _: seen.append(run.progress()), backend, after_s=1.5)
    assert seen[0][:4] == (3, 3, 2, 1_500_000_000)


def test_progress_counts_tokens_and_what_they_cost_where_all_prices_are_known() -> None:
    priced = ScriptedBackend(prices={"scripted": Price(input=1e6, output=2e6)})
    seen: list[Progress] = []
    trace = during(EIGHT, lambda run, _: seen.append(run.progress()), priced, after_s=1.5)
    answered = [o.attempts[-1] for o in trace.operations][:3]
    given, taken = sum(a.usage.input_tokens or 0 for a in answered), sum(a.usage.output_tokens or 0 for a in answered)
    assert (seen[0].tokens, seen[0].cost) == (given + taken, given + 2 * taken)
    during(EIGHT, lambda run, _: seen.append(run.progress()), ScriptedBackend(), after_s=1.5)
    assert (seen[1].tokens, seen[1].cost) == (given + taken, None)


class SleepingBackend:
    """A coroutine backend that keeps count of its calls."""

    limits = Limits(retries=0)
    can_reason = False

    def __init__(self, answer: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        self.open = 0
        self.ended: list[str] = []
        self._answer = answer

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(name="b", kind="sleeping", model="m", simulated=True)

    async def call(self, request: ModelRequest) -> ModelAnswer:
        self.open += 1
        try:
            await asyncio.sleep(1)
            if self._answer:
                await self._answer()
            self.ended.append(request.prompt)
            return ModelAnswer(text=request.prompt)
        finally:
            self.open -= 1

    async def close(self) -> None: ...


def test_a_coroutine_backend_runs_in_tasks_that_overlap() -> None:
    backend = SleepingBackend()
    trace = during(EIGHT, lambda *_: None, backend)
    assert ms(trace) == 3000
    assert backend.ended == [f"Task {letter}" for letter in "ABCDEFGH"]


def test_cancelling_the_caller_leaves_no_task_behind() -> None:
    backend = SleepingBackend()

    async def main() -> None:
        run = Run(LoadedProgram(EIGHT), EIGHT.flows[0], (), BackendPool({"b": backend}, "b"))
        task = asyncio.create_task(run.execute())
        await asyncio.sleep(0.5)
        assert backend.open == 8
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.open == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(main())


def test_a_timed_out_coroutine_is_cancelled_and_the_others_go_on() -> None:
    backend = SleepingBackend()
    trace = during(program(plan(ask("x", timeout=0.7), ask("y"), give(1))), lambda *_: None, backend)
    assert [f.kind for f in trace.failures] == ["timeout"]
    assert backend.ended == ["y"]
    assert backend.open == 0


async def _cancel_oneself() -> None:
    raise asyncio.CancelledError


async def _raise_something() -> None:
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize(("answer", "kind"), [(_cancel_oneself, "cancelled"), (_raise_something, "backend_defect")])
def test_a_backend_that_misbehaves_fails_its_operation_and_never_hangs_the_run(answer: Any, kind: str) -> None:
    trace = during(program(plan(ask("x"))), lambda *_: None, SleepingBackend(answer))
    assert [f.kind for f in trace.failures] == [kind]


def test_an_error_of_the_reader_of_the_output_ends_the_run_and_reaches_the_caller() -> None:
    backend = ScriptedBackend()

    def broken(_line: str) -> None:
        raise BrokenPipeError

    p = program(plan(show("line"), ask("x")))
    with pytest.raises(BrokenPipeError):
        execute_virtually(p, backend, options=RunOptions(output=broken))
    assert all(call.cancelled for call in backend.calls)


def test_a_backend_that_is_not_configured_is_an_error_before_anything_starts() -> None:
    with pytest.raises(ConfigurationError, match=r"asks for backend 'other'.*configured: scripted"):
        execute_virtually(program(plan(ask("x"), ask("y", backend="other"))))


def test_real_backends_are_refused_on_virtual_time() -> None:
    class Real(SleepingBackend):
        @property
        def info(self) -> BackendInfo:
            return BackendInfo(name="b", kind="real", model="m")

    with pytest.raises(UsageError, match="real time"):
        during(EIGHT, lambda *_: None, Real())


def test_operations_choose_their_backend_and_the_rest_goes_to_the_default() -> None:
    first, second = ScriptedBackend(name="first"), ScriptedBackend(name="second")
    trace = execute_virtually(program(plan(ask("x"), ask("y", backend="second"))), first, second)
    assert (first.prompts, second.prompts) == (["x"], ["y"])
    assert [r.backend for r in trace.operations] == ["first", "second"]


def test_under_a_limit_the_longest_path_to_the_end_goes_first() -> None:
    short = [ask(f"s{i}") for i in range(3)]
    nodes = [*short, ask("head"), ask(3), ask(4)]
    ranked = [replace(node, priority={3: 3000, 4: 2000}.get(i, 1000)) for i, node in enumerate(nodes)]
    trace = execute_virtually(program(plan(*ranked)), options=RunOptions(max_concurrency=2))
    assert ms(trace) == 3000
    first_come = execute_virtually(program(plan(*nodes)), options=RunOptions(max_concurrency=2))
    assert ms(first_come) == 4000


@pytest.mark.parametrize("limited", ["run", "backend"])
def test_what_has_just_become_ready_competes_for_the_slot_that_its_predecessor_frees(limited: str) -> None:
    nodes = [ask("head"), ask(0), ask("other"), ask("another")]
    ranked = [replace(node, priority=rank) for node, rank in zip(nodes, [3000, 2000, 1000, 1000], strict=True)]
    backend = ScriptedBackend(max_concurrency=1 if limited == "backend" else None)
    options = RunOptions(max_concurrency=1 if limited == "run" else None)
    execute_virtually(program(plan(*ranked)), backend, options=options)
    assert backend.prompts == ["head", "[head]", "other", "another"]


def test_the_same_run_on_real_time_gives_the_same_result() -> None:
    backend = ScriptedBackend(latency_ms=lambda _request: 0)
    pool = BackendPool({"scripted": backend}, "scripted")
    trace = asyncio.run(Run(LoadedProgram(EIGHT), EIGHT.flows[0], (), pool).execute())
    assert trace.value == execute_virtually(EIGHT).value
    assert trace.overhead.dispatch
    assert trace.overhead.input_collection
    assert trace.overhead.token_routing
